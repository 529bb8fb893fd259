"""The search for secrets finds them in every form; what it says about a clean place can be relied on."""

from __future__ import annotations

import base64
import sys
from pathlib import Path
from urllib.parse import quote

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))
from prove.canary import BELONGS, forms, in_text, needles

VALUE = 's3cr3t/Value+with=odd&chars%and"quotes'


@pytest.mark.parametrize("before", ["", "x", "xy", "xyz", "user:"])
@pytest.mark.parametrize("after", ["", "\n", "ab", "@host"])
def test_found_in_base64_wherever_it_stands(before: str, after: str) -> None:
    text = base64.b64encode(f"{before}{VALUE}{after}".encode()).decode()
    assert in_text(f"data: {text}", needles({"it": VALUE})) == ["it"]
    assert in_text(base64.urlsafe_b64encode(f"{before}{VALUE}{after}".encode()).decode(), needles({"it": VALUE})) == ["it"]


@pytest.mark.parametrize(
    "text", [VALUE, VALUE.encode().hex(), f"postgres://u:{quote(VALUE, safe='')}@host", '"s3cr3t/Value+with=odd&chars%and\\"quotes"']
)
def test_found_as_text_hex_url_and_json(text: str) -> None:
    assert in_text(f"... {text} ...", needles({"it": VALUE})) == ["it"]


def test_not_found_where_it_is_not() -> None:
    assert in_text("s3cr3t/Value+with=other", needles({"it": VALUE})) == []
    assert all(len(form) >= 10 for form in forms(VALUE))


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/var/lib/kubelet/pods/1-2/volumes/kubernetes.io~secret/users/..data/users.acl", True),
        ("/var/lib/rancher/k3s/server/token", True),
        ("/var/lib/rancher/k3s/server/db/state.db", False),
        ("/var/lib/rancher/k3s/server/logs/audit.log", False),
        ("/etc/rancher/k3s/config.yaml", False),
        ("/var/log/journal/1/system.journal", False),
    ],
)
def test_few_places_may_hold_a_value(path: str, expected: bool) -> None:
    assert bool(BELONGS.match(path)) is expected
