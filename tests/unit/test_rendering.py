"""A role's templates become labelled sets, one per environment or namespace."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible.errors import AnsibleError
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar
from ansible_collections.shaka.platform.plugins.plugin_utils.plan.rendering import RenderedSet, render_role

MODEL: Any = {
    "name": "shaka",
    "environments": {"dev": {"name": "dev", "namespace": "shaka-dev"}, "prod": {"name": "prod", "namespace": "shaka-prod"}},
    "namespaces": {"shared": {"name": "shared", "namespace": "shaka-shared"}},
}
CONFIG = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c, namespace: '{{ env.namespace }}'}\n"


def render(tmp_path: Path, files: dict[str, str], **variables: Any) -> dict[str, RenderedSet]:
    for name, text in files.items():
        path = tmp_path / "demo" / "templates" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return {part.name: part for part in render_role(tmp_path / "demo", Templar(loader=DataLoader()), variables, MODEL)}


def test_each_directory_has_its_sets(tmp_path: Path) -> None:
    namespace = "apiVersion: v1\nkind: Namespace\nmetadata: {name: '{{ ns.namespace }}'}\n"
    sets = render(tmp_path, {"cluster/a.yaml.j2": "", "environment/c.yaml.j2": CONFIG, "namespace/n.yaml.j2": namespace})
    assert list(sets) == ["demo", "demo.dev", "demo.prod", "demo.shared"]
    assert [o["kind"] for o in sets["demo.dev"].objects] == ["ConfigMap", "Namespace"] and sets["demo"].objects == []
    meta = sets["demo.prod"].objects[0]["metadata"]
    assert meta["namespace"] == "shaka-prod" and meta["annotations"] == {"shaka.platform/inventory": "platform_environments.prod"}
    assert meta["labels"] == {
        "app.kubernetes.io/managed-by": "shaka.platform",
        "app.kubernetes.io/part-of": "shaka",
        "shaka.platform/role": "demo",
        "shaka.platform/set": "demo.prod",
    }
    assert sets["demo.shared"].objects[0]["metadata"]["annotations"] == {"shaka.platform/inventory": "platform_namespaces.shared"}
    assert sets["demo.dev"].sources == ["demo/templates/environment/c.yaml.j2", "demo/templates/namespace/n.yaml.j2"]


def test_patches_includes_and_empty_documents(tmp_path: Path) -> None:
    files = {
        "cluster/patches.yaml.j2": "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: d}\nspec: {replicas: 2}\n",
        "environment/c.yaml.j2": "{% if env.name == 'prod' %}\n{% include '_part.j2' %}\n\n{% endif %}\n---\n",
        "_part.j2": CONFIG,
    }
    sets = render(tmp_path, files)
    assert sets["demo"].patches[0]["spec"] == {"replicas": 2} and "labels" not in sets["demo"].patches[0]["metadata"]
    assert not sets["demo.dev"].objects and len(sets["demo.prod"].objects) == 1


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (CONFIG + "data: {a: '{{ env.nothing }}'}\n", r"c.yaml.j2 \(for dev\).*nothing"),
        (CONFIG + "data: [1\nx: 2\n", r"c.yaml.j2 \(for dev\), rendered: line \d"),
        ("kind: ConfigMap\nmetadata: {name: c}\n", "lacks apiVersion"),
        (CONFIG + "data: {a: '{{ platform_secrets.dev.X }}'}\n", "platform_secrets"),
    ],
)
def test_errors_name_file_and_environment(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(AnsibleError, match=f"(?s){words}"):
        render(tmp_path, {"environment/c.yaml.j2": text}, platform_secrets={"dev": {"X": "never-in-an-object"}})
