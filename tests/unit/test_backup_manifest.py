"""Where backups lie, and what makes a manifest one."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.shaka.platform.plugins.module_utils.backup import layout, manifest
from ansible_collections.shaka.platform.plugins.module_utils.backup.layout import Found, Origin

SCRIPTS = Path(__file__).parents[2] / "roles/backup/files"
KEY = "c0ffee" * 10
ORIGIN = Origin("microsaas-server", "prod", "7412345678901234567")
STAMP = "20261126T100000Z"


def written(**changes: Any) -> bytes:
    """A manifest as the backup's script writes it."""
    raw = {
        "format": 1, "kind": "scheduled", "platform": "shaka", "server": ORIGIN.server, "cluster": "c", "environment": "prod",
        "system_identifier": ORIGIN.system_identifier, "postgres": "15.8", "stamp": STAMP, "finished": "2026-11-26T10:00:09Z", "seconds": 9,
        "databases": [{"name": "app", "object": "app.dump.age", "bytes": 10, "sha256": "ab", "database_bytes": 9, "seconds": 1.5,
                       "tables": {"public.t": 3}}],
        **changes,
    }  # fmt: skip
    line = json.dumps(raw, separators=(",", ":")).encode()
    return line + b"\n" + manifest.signature(line, KEY).encode() + b"\n"


@pytest.mark.parametrize("shell", ["bash", "sh"])
@pytest.mark.parametrize("length", [1, 63, 64, 65, 200])
def test_what_the_backup_s_script_signs_is_authentic(tmp_path: Path, length: int, shell: str) -> None:
    """Also with a key that is longer than a block of SHA-256 (RFC 2104), or of which a byte of the pads becomes 0."""
    key = ("k%6\\~ " * 50)[:length]
    file = tmp_path / "manifest"
    file.write_bytes(written().partition(b"\n")[0])
    subprocess.run([shell, "-c", ". ./manifest.sh && sign $0", str(file)], cwd=SCRIPTS, env={**os.environ, "BACKUP_KEY": key}, check=True)
    assert manifest.read(file.read_bytes(), key, ORIGIN, STAMP).bytes == 10


def test_a_manifest_says_what_was_backed_up() -> None:
    found = manifest.read(written(wal={"start": "0/1"}), KEY, ORIGIN, STAMP)
    assert (found.kind, found.bytes, found.databases[0].tables, found.more) == ("scheduled", 10, {"public.t": 3}, {"wal": {"start": "0/1"}})


@pytest.mark.parametrize(
    ("content", "key", "origin", "stamp", "why"),
    [
        (written(), "other", ORIGIN, STAMP, "not authentic"),
        (written().replace(b'"bytes":10', b'"bytes":11'), KEY, ORIGIN, STAMP, "not authentic"),
        (b"", KEY, ORIGIN, STAMP, "not authentic"),
        (written().partition(b"\n")[0], KEY, ORIGIN, STAMP, "not authentic"),
        (written()[:-1] + "é".encode(), KEY, ORIGIN, STAMP, "not authentic"),
        (written(format=2), KEY, ORIGIN, STAMP, "format 2"),
        (written(databases=[{"name": "app"}]), KEY, ORIGIN, STAMP, "cannot be read"),
        (written(), KEY, Origin("other", "prod", ORIGIN.system_identifier), STAMP, "another place"),
        (written(), KEY, ORIGIN, "20261126T100001Z", "another place"),
        (b"x" * (manifest.LARGEST + 1), KEY, ORIGIN, STAMP, "more than any"),
    ],
)
def test_what_is_not_to_be_trusted_says_why(content: bytes, key: str, origin: Origin, stamp: str, why: str) -> None:
    with pytest.raises(manifest.Unusable, match=why):
        manifest.read(content, key, origin, stamp)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (f"shaka/microsaas-server/prod/1/dumps/{STAMP}/app.dump.age", Found(Origin("microsaas-server", "prod", "1"), "dumps", STAMP, "app.dump.age")),
        (f"shaka/microsaas-server/prod/1/base/{STAMP}/manifest", Found(Origin("microsaas-server", "prod", "1"), "base", STAMP, "manifest")),
        ("shaka/s/prod/1/wal/000000010000000000000001.age", Found(Origin("s", "prod", "1"), "wal", "", "000000010000000000000001.age")),
        ("shaka/s/prod/1/dumps/notes.txt", None),
        ("shaka/s/prod/1/dumps/yesterday/manifest", None),
        (f"shaka2/s/prod/1/dumps/{STAMP}/manifest", None),
        (f"shaka/s/prod/app/{STAMP}.json", None),
    ],
)
def test_a_path_says_what_an_object_is(path: str, expected: Found | None) -> None:
    assert layout.read(path, "/shaka/") == expected


def test_stamps() -> None:
    assert layout.stamp(layout.moment(STAMP)) == STAMP
    with pytest.raises(ValueError, match="20261126T100000Z"):
        layout.moment("20261301T100000Z2")
