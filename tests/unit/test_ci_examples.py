"""The pipelines that we give away name what there is, are pinned, and may no more than they need: nobody runs them here."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.shaka.platform.plugins.plugin_utils.collection import argument_specs, playbook_specs

ROOT = Path(__file__).parents[2]
GITHUB = [ROOT / "playbooks/files/project/github/workflows/deploy.yml", ROOT / "docs/examples/github-application.yml"]
GITLAB = [ROOT / "docs/examples/gitlab-platform.yml", ROOT / "docs/examples/gitlab-application.yml"]
EXAMPLES = [*GITHUB, *GITLAB]
DIGEST = re.compile(r"@sha256:[0-9a-f]{64}$")
# The only thing that each job may write.
WRITES = {"deploy.yml": {"deploy": "contents"}, "github-application.yml": {"build": "packages"}}


def loaded(path: Path) -> dict[Any, Any]:
    content: dict[Any, Any] = yaml.safe_load(path.read_text())
    return content


def strings(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for item in value.values():
            yield from strings(item)
    elif isinstance(value, list):
        for item in value:
            yield from strings(item)
    elif isinstance(value, str):
        yield value


def jobs(path: Path) -> dict[str, Any]:
    content = loaded(path)
    if path in GITHUB:
        return dict(content["jobs"])
    return {name: job for name, job in content.items() if isinstance(job, dict) and not name.startswith(".")}


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_playbooks_and_their_variables_are_there(path: Path) -> None:
    text = "\n".join(strings(loaded(path)))
    playbooks = set(re.findall(r"ansible-playbook shaka\.platform\.(\w+)", text))
    assert {name for name in playbooks if not (ROOT / "playbooks" / f"{name}.yml").exists()} == set()
    specs = [spec for role in argument_specs().values() for spec in role.values()]
    declared = {name for spec in [*specs, *playbook_specs().values()] for name in spec.get("options") or {}}
    assert set(re.findall(r"-e (\w+)=", text)) - declared == set()


@pytest.mark.parametrize("path", [GITHUB[0], GITLAB[0]], ids=lambda path: path.name)
def test_the_platforms_pipeline_deploys_verifies_and_goes_back(path: Path) -> None:
    found = re.findall(r"ansible-playbook shaka\.platform\.(\w+)", "\n".join(strings(loaded(path))))
    assert found[0] == "deploy" and {"verify", "rollback"} <= set(found)


@pytest.mark.parametrize("path", [GITHUB[1], GITLAB[1]], ids=lambda path: path.name)
def test_an_applications_pipeline_has_no_key_of_the_server(path: Path) -> None:
    text = "\n".join(strings(loaded(path)))
    assert "trivy" in text and not re.search(r"SSH_|VAULT|ansible", text)


@pytest.mark.parametrize("path", GITHUB, ids=lambda path: path.name)
def test_github_jobs_may_write_what_they_must_and_nothing_else(path: Path) -> None:
    assert loaded(path)["permissions"] == {}
    for name, job in jobs(path).items():
        written = {what for what, access in job["permissions"].items() if access != "read"}
        assert written == {WRITES[path.name][name]} if name in WRITES[path.name] else written == set()
        assert "timeout-minutes" in job


@pytest.mark.parametrize("path", GITHUB, ids=lambda path: path.name)
def test_github_actions_are_pinned_and_no_value_becomes_code(path: Path) -> None:
    steps = [step for job in jobs(path).values() for step in job["steps"]]
    assert [step["uses"] for step in steps if "uses" in step and not re.search(r"@[0-9a-f]{40}$", step["uses"])] == []
    assert [step["run"] for step in steps if "${{" in step.get("run", "")] == []
    assert all(DIGEST.search(word) for step in steps for word in step.get("run", "").split() if "trivy@" in word)


@pytest.mark.parametrize("path", GITLAB, ids=lambda path: path.name)
def test_gitlab_images_are_pinned(path: Path) -> None:
    content = loaded(path)
    images = [job["image"] for job in content.values() if isinstance(job, dict) and "image" in job]
    names = [image["name"] if isinstance(image, dict) else image for image in images]
    assert names and [name for name in names if not DIGEST.search(name)] == []
    assert [name for name, job in jobs(path).items() if "script" in job and "rules" not in job] == []
