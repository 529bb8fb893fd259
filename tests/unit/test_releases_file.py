"""The inventory's file of releases: one image in it changes, and all else stays as it is written."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from actions import action
from ansible.errors import AnsibleActionFail
from ansible_collections.shaka.platform.plugins.action.releases_file import ActionModule
from ansible_collections.shaka.platform.plugins.plugin_utils.releases_file import START, UnreadableReleases, with_release

IMAGE = "ghcr.io/example/api@sha256:" + "1" * 64
OTHERS = """---
# kept
first: 1   # and this
platform_releases:
  # an older one
  staging:
    apps: {api: {image: "ghcr.io/example/api@sha256:0000"}}

  prod: {image: "r/api:1"}
last: [a, b]
"""


@pytest.mark.parametrize("text", ["", START, "---\nother: 1\n", "platform_releases:\n", "platform_releases: {}\n", OTHERS])
def test_an_image_is_written_into_it(text: str) -> None:
    after = yaml.safe_load(with_release(text, "prod", "api", IMAGE))
    assert after["platform_releases"]["prod"] == {"apps": {"api": {"image": IMAGE}}}
    before = yaml.safe_load(text) or {}
    assert {key: value for key, value in after.items() if key != "platform_releases"} == {k: v for k, v in before.items() if k != "platform_releases"}


def test_what_else_is_in_it_stays_as_it_is_written() -> None:
    after = with_release(OTHERS, "prod", "web", IMAGE)
    assert after.startswith("---\n# kept\nfirst: 1   # and this\nplatform_releases:\n") and after.endswith("last: [a, b]\n")
    assert yaml.safe_load(after)["platform_releases"] == {
        "staging": {"apps": {"api": {"image": "ghcr.io/example/api@sha256:0000"}}},
        "prod": {"image": "r/api:1", "apps": {"web": {"image": IMAGE}}},
    }


def test_the_same_image_changes_nothing() -> None:
    once = with_release("", "prod", "api", IMAGE)
    assert with_release(once, "prod", "api", IMAGE) == once


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("$ANSIBLE_VAULT;1.1;AES256\n6162\n", "not a file of variables"),
        ("a: [", "not plain YAML"),
        ("platform_releases: [prod]\n", "is not a dictionary"),
        ("platform_releases: {prod: api}\n", "is not a dictionary"),
        ("{platform_releases: {}}\n", "not plain YAML"),
    ],
)
def test_a_file_that_cannot_be_kept_is_refused(text: str, says: str) -> None:
    with pytest.raises(UnreadableReleases, match=says):
        with_release(text, "prod", "api", IMAGE)


def test_a_directory_that_is_missing_is_said_to_be_missing(tmp_path: Path) -> None:
    """As of an inventory whose group_vars/all is a file."""
    arguments = {"path": str(tmp_path / "group_vars/all/releases.yml"), "environment": "prod", "app": "api", "image": IMAGE}
    with pytest.raises(AnsibleActionFail, match=r"there is no directory .*/group_vars/all; make it"):
        action(ActionModule, "ansible.builtin.local").answer(arguments, {})
