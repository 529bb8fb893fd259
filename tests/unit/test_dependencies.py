"""What the collection depends on is said once, and the checkout has it."""

from __future__ import annotations

import json
import zipfile
from importlib import metadata
from pathlib import Path

import ansible_collections.kubernetes.core
import pytest
import yaml
from packaging.specifiers import SpecifierSet

from lab import kubernetes_core, paths


def test_both_files_ask_for_the_same() -> None:
    depends = yaml.safe_load((paths.ROOT / "galaxy.yml").read_text())["dependencies"]
    installs = yaml.safe_load((paths.ROOT / "requirements.yml").read_text())["collections"]
    assert depends == {each["name"]: each["version"] for each in installs}


def test_the_checkout_has_what_is_asked_for() -> None:
    depends = yaml.safe_load((paths.ROOT / "galaxy.yml").read_text())["dependencies"]
    manifest = Path(next(iter(ansible_collections.kubernetes.core.__path__))) / "MANIFEST.json"
    assert SpecifierSet(depends["kubernetes.core"]).contains(json.loads(manifest.read_text())["collection_info"]["version"])
    assert metadata.version("jmespath")


def test_one_collection_is_taken_out_of_the_wheel(tmp_path: Path) -> None:
    wheel = tmp_path / "ansible-1.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for name in ("kubernetes/core/MANIFEST.json", "kubernetes/core/plugins/modules/k8s.py", "community/general/MANIFEST.json"):
            archive.writestr(f"ansible_collections/{name}", "{}")
    kubernetes_core.extract(wheel, tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").rglob("*.*")) == ["MANIFEST.json", "k8s.py"]


def test_a_wheel_without_it_is_refused(tmp_path: Path) -> None:
    wheel = tmp_path / "ansible-2.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("ansible_collections/community/general/MANIFEST.json", "{}")
    with pytest.raises(SystemExit, match="does not hold the collection"):
        kubernetes_core.extract(wheel, tmp_path / "out")
