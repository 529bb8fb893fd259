"""An image that is pulled ahead of its pods, by a crictl that answers as the real one does."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.shaka.platform.plugins.module_utils.release import image
from ansible_collections.shaka.platform.plugins.plugin_utils.model import release

IMAGE = "ghcr.io/acme/api@sha256:" + "1" * 64
# As crictl writes it where nobody looks, and in a terminal.
UNKNOWN = f'failed to pull and unpack image "{IMAGE}": failed to resolve image: {IMAGE}: not found'
LOGGED = (
    'E0301 12:00:00 remote_image.go:167] "PullImage from image service failed" err="rpc error"\ntime="2026-03-01T12:00:00Z" level=fatal '
    'msg="pulling image: rpc error: code = NotFound desc = {}"\n'.format(UNKNOWN.replace('"', r"\""))
)
SHOWN = f"FATA[0001] pulling image: rpc error: code = NotFound desc = {UNKNOWN}\n"


def execute(words: list[str]) -> tuple[int, str, str]:
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, done.stderr


def crictl(folder: Path, says: str, code: int = 1) -> list[str]:
    (folder / "says").write_text(says)
    (folder / "crictl").write_text(f'#!/bin/sh\necho "$*" >> {folder}/asked\ncat {folder}/says >&2\nexit {code}\n')
    (folder / "crictl").chmod(0o755)
    return [str(folder / "crictl")]


@pytest.mark.parametrize("says", [LOGGED, SHOWN])
def test_the_registry_s_own_words_say_why_it_did_not_come(tmp_path: Path, says: str) -> None:
    assert image.pull_problem(execute, crictl(tmp_path, says), IMAGE, 5) == UNKNOWN
    assert (tmp_path / "asked").read_text() == f"pull {IMAGE}\n"


@pytest.mark.parametrize(("says", "problem"), [("k3s: no such command", "k3s: no such command"), ("", "exit code 1")])
def test_another_error_is_said_as_it_is(tmp_path: Path, says: str, problem: str) -> None:
    assert image.pull_problem(execute, crictl(tmp_path, says), IMAGE, 5) == problem


def test_a_pull_has_an_end(tmp_path: Path) -> None:
    command = crictl(tmp_path, "")
    Path(command[0]).write_text("#!/bin/sh\nexec sleep 60\n")
    assert image.pull_problem(execute, command, IMAGE, 1) == "it had not come after 1 s"


@pytest.mark.parametrize(("code", "there"), [(0, True), (1, False)])
def test_an_image_that_is_there_is_known(tmp_path: Path, code: int, there: bool) -> None:
    assert image.present(execute, crictl(tmp_path, "no such image", code), IMAGE) is there


@pytest.mark.parametrize(
    ("api", "worker", "pulled"),
    [
        ({}, {}, False),
        ({"strategy": "recreate"}, {}, True),
        ({}, {"strategy": "recreate"}, True),  # its old pod would end while the API's new one pulls
        ({}, {"strategy": "recreate", "schedule": "@daily"}, False),  # no pod of it ends
        ({}, {"strategy": "recreate", "image_of": ""}, False),
    ],
)
def test_who_ends_before_the_successor_starts_has_the_image_before(api: dict[str, str], worker: dict[str, str], pulled: bool) -> None:
    usual = {"strategy": "rolling", "schedule": ""}
    apps: list[Any] = [{"key": "api", "image_of": "", **usual, **api}, {"key": "worker", "image_of": "api", **usual, **worker}]
    assert release.pull(apps, "api") is pulled
