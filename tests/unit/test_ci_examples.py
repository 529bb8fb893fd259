"""The pipelines that we give away name what there is, are pinned, and may no more than they need: nobody runs them here."""

from __future__ import annotations

import os
import re
import subprocess
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


RELEASES = "inventories/prod/group_vars/all/releases.yml"


class Repository:
    """A platform's repository, clones of it, and git as a runner has it: it makes up no identity."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.remote = folder, folder / "platform.git"
        (folder / "gitconfig").write_text("[user]\nuseConfigOnly = true\n")
        self.variables = {**os.environ, "GIT_CONFIG_GLOBAL": str(folder / "gitconfig"), "GIT_CONFIG_SYSTEM": os.devnull}
        self.git("init", "--bare", "--initial-branch=main", str(self.remote))
        self.clone("owner")
        (folder / "owner" / RELEASES).parent.mkdir(parents=True)
        self.commit("owner", {RELEASES: "a: 0\n", "artifacts.lock.yml": "", "README": ""})

    def git(self, *words: str, where: str = ".") -> str:
        return subprocess.run(["git", *words], cwd=self.folder / where, env=self.variables, check=True, capture_output=True, text=True).stdout

    def clone(self, name: str) -> None:
        self.git("clone", str(self.remote), name)

    def commit(self, name: str, files: dict[str, str]) -> None:
        for file, text in files.items():
            (self.folder / name / file).write_text(text)
        self.git("add", "-A", where=name)
        self.git("-c", "user.name=t", "-c", "user.email=t@t.test", "commit", "-m", "of the owner", where=name)
        self.git("push", "origin", "HEAD:main", where=name)

    def run(self, name: str, lines: list[str], **variables: str) -> int:
        """The exit code of shell lines in a clone."""
        script = "set -e\n" + "\n".join(lines)
        done = subprocess.run(["sh", "-c", script], cwd=self.folder / name, env={**self.variables, **variables}, capture_output=True, check=False)
        return done.returncode

    @property
    def committed(self) -> str:
        return self.git("show", f"main:{RELEASES}", where="platform.git")


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path)


def test_gitlab_commits_what_runs_beside_other_commits_and_fails_where_it_cannot(repository: Repository) -> None:
    """The shell lines of its jobs. Two pipelines begin at one commit; the second waits for the first."""
    folder = repository.folder
    (folder / "bin").mkdir()
    playbook = folder / "bin/ansible-playbook"  # which may complete the lock, too
    playbook.write_text(
        f'#!/bin/sh\ncat {RELEASES} >>"$SEEN"\necho "a: $DEPLOY_IMAGE" >{RELEASES}\necho "# more" >>artifacts.lock.yml\nexit "$CODE"\n'
    )
    playbook.chmod(0o755)
    before, script = loaded(GITLAB[0])[".platform"]["before_script"], jobs(GITLAB[0])["rollback"]["script"]
    lines = [line for line in strings([before, script]) if not re.match(r"apt-get|pip|ansible-galaxy|umask|mkdir|cp ", line)]

    def run(name: str, code: int, url: Path) -> int:
        own = [
            line.replace("https://deploy:$PUSH_TOKEN@$CI_SERVER_HOST/$CI_PROJECT_PATH.git", str(url)).removesuffix(" -o ci.skip") for line in lines
        ]
        variables = {"DEPLOY_ENVIRONMENT": "prod", "DEPLOY_IMAGE": name, "CI_DEFAULT_BRANCH": "main", "CI_SERVER_HOST": "git.test"}
        more = {"CODE": str(code), "SEEN": str(folder / "seen"), "PATH": f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}"}
        return repository.run(name, own, **variables, **more)

    for name in ("first", "second", "third"):
        repository.clone(name)
        repository.git("checkout", "--detach", where=name)
    assert run("first", 2, repository.remote) == 2  # a rollback that does not pass its gate stays, and fails
    assert repository.committed == "a: first\n"
    assert run("second", 0, repository.remote) == 0
    assert repository.committed == "a: second\n"
    assert (folder / "seen").read_text() == "a: 0\na: first\n"
    assert run("third", 0, folder / "nowhere") != 0


def test_github_commits_what_runs_beside_other_commits(repository: Repository) -> None:
    step = next(step for step in jobs(GITHUB[0])["deploy"]["steps"] if step.get("name") == "Commit what runs")
    repository.clone("runner")
    repository.commit("owner", {"README": "later"})
    for file, text in {RELEASES: "a: 1\n", "artifacts.lock.yml": "# more\n"}.items():
        (repository.folder / "runner" / file).write_text(text)
    assert repository.run("runner", [step["run"]], ENVIRONMENT="prod") == 0
    assert repository.committed == "a: 1\n"


def test_a_release_that_waited_begins_with_what_the_one_before_has_committed() -> None:
    """Left alone, the checkout has the commit at which the run was asked for, and deploy refuses an inventory that differs."""
    assert jobs(GITHUB[0])["deploy"]["steps"][0]["with"]["ref"] == "${{ github.ref_name }}"


def test_no_variable_of_gitlab_is_made_of_itself() -> None:
    """It arrives in the other project as it is written: https://forum.gitlab.com/t/variable-precedence-and-variable-re-assignment/76103"""
    own = {name: value for job in jobs(GITLAB[1]).values() for name, value in (job.get("variables") or {}).items()}
    assert own and [name for name, value in own.items() if f"${name}" in str(value).split()] == []
