"""The files of a new project come into a directory without touching what is there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from ansible_collections.shaka.platform.plugins.action.starting_project import of_this_machine
from ansible_collections.shaka.platform.plugins.plugin_utils.collection import project_sources, project_values
from ansible_collections.shaka.platform.plugins.plugin_utils.starting_project import ProjectError, filled_in, missing_files, write

TEXTS = {"README.md": "read\n", "inventories/prod/hosts.yml": "hosts\n", "inventories/prod/group_vars/all/secrets.yml": "secrets\n"}


def test_what_is_missing_is_written_and_then_nothing_is(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("read\n")
    missing = missing_files(tmp_path, TEXTS)
    assert missing == list(TEXTS)[1:]
    write(tmp_path, TEXTS, missing)
    assert missing_files(tmp_path, TEXTS) == []
    assert {name: (tmp_path / name).stat().st_mode & 0o777 for name in missing} == {missing[0]: 0o644, missing[1]: 0o600}


def _other_content(top: Path) -> None:
    (top / "README.md").write_text("mine\n")


def _a_directory(top: Path) -> None:
    (top / "README.md").mkdir()


def _a_link_to_nothing(top: Path) -> None:
    (top / "README.md").symlink_to(top / "nowhere")


def _a_file_for_a_directory(top: Path) -> None:
    (top / "inventories").write_text("mine\n")


@pytest.mark.parametrize(
    ("there", "named"),
    [
        (_other_content, "README.md"),
        (_a_directory, "README.md"),
        (_a_link_to_nothing, "README.md"),
        (_a_file_for_a_directory, "inventories/prod/hosts.yml"),
    ],
)
def test_what_is_in_the_way_is_named(tmp_path: Path, there: Callable[[Path], None], named: str) -> None:
    there(tmp_path)
    with pytest.raises(ProjectError, match=named):
        missing_files(tmp_path, TEXTS)


def test_a_file_that_appears_meanwhile_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("mine\n")
    with pytest.raises(FileExistsError):
        write(tmp_path, TEXTS, ["README.md"])
    assert (tmp_path / "README.md").read_text() == "mine\n"


def test_every_word_that_stands_for_a_value_is_filled_in() -> None:
    machine = {"@DIRECTORY@": "/srv/platform", "@USER@": "ana", "@ANSIBLE_PLAYBOOK@": "/usr/bin/ansible-playbook"}
    texts = filled_in(project_sources(), {**project_values(), **machine})
    assert {".gitignore", ".github/workflows/drift.yml", "ansible.cfg", "inventories/prod/hosts.yml"} <= set(texts)
    assert [word for text in texts.values() for word in text.split() if word.strip(".").startswith("@") and word.strip(".").endswith("@")] == []
    assert "WorkingDirectory=/srv/platform\n" in texts["nightly/shaka-drift.service"]


def test_the_nightly_check_runs_in_a_directory_of_any_name() -> None:
    unit = filled_in(project_sources(), of_this_machine(Path("/srv/my 100% platform")))["nightly/shaka-drift.service"]
    assert "WorkingDirectory=/srv/my 100%% platform\n" in unit  # the rest of the line, as systemd.exec(5) has it
    assert 'Environment="ANSIBLE_VAULT_PASSWORD_FILE=/srv/my 100%% platform/.vault-password"\n' in unit
    assert 'ansible-playbook" shaka.platform.drift\n' in unit
