"""Secrets that lie in plain text in an inventory are found, and those that are encrypted, empty or elsewhere are not."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.shaka.platform.plugins.plugin_utils.model.plain_secrets import plain_files

VALUE = "5f1d0c3a9b8e7d6c5f1d0c3a9b8e7d6c"


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        (f"platform_secrets: {{prod: {{DB_PASSWORD: {VALUE}}}}}\n", True),
        ("platform_secrets: {prod: {DB_PASSWORD: 12345678}}\n", True),
        ('platform_secrets: {prod: {DB_PASSWORD: ""}}\n', False),
        ("$ANSIBLE_VAULT;1.1;AES256\n3661\n", False),
        ("platform_secrets:\n  prod:\n    DB_PASSWORD: !vault |\n      $ANSIBLE_VAULT;1.1;AES256\n      3661\n", False),
        ("platform_secrets: {prod: {DB_PASSWORD: 'ENC[AES256_GCM,data:x]'}}\nsops: {mac: x}\n", False),
        ("platform_secrets: \"{{ lookup('ansible.builtin.env', 'SECRETS') | from_json }}\"\n", False),
        ("platform_secret_minimum: {JWT_SECRET: 64}\n", False),
        ("platform_secrets: {prod: [\n", False),
    ],
)
def test_by_what_is_in_the_file(tmp_path: Path, text: str, plain: bool) -> None:
    file = tmp_path / "group_vars/all/secrets.yml"
    file.parent.mkdir(parents=True)
    file.write_text(text)
    assert plain_files(tmp_path) == (["group_vars/all/secrets.yml"] if plain else [])


def test_an_inventory_without_such_folders_has_none(tmp_path: Path) -> None:
    assert plain_files(tmp_path) == []
