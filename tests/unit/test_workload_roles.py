"""What each role that makes objects has besides its templates, so that the objects are made, and their pods start."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from ansible_collections.shaka.platform.plugins.plugin_utils.collection import KINDS, ROLES, interface, site_roles, templates
from test_isolation import rendered

WORKLOADS = [role.name for role in sorted(ROLES.iterdir()) if any(templates(role, kind) for kind in KINDS)]


def pods_in(value: Any) -> Iterator[dict[str, Any]]:
    """The pods' specs in an object."""
    if isinstance(value, dict):
        if "containers" in value:
            yield value
        value = list(value.values())
    for item in value if isinstance(value, list) else ():
        yield from pods_in(item)


@pytest.mark.parametrize("role", WORKLOADS)
def test_what_it_makes_is_applied_by_the_site(role: str) -> None:
    assert role in site_roles()
    assert any("shaka.platform.apply_set:" in path.read_text() for path in (ROLES / role / "tasks").glob("*.yml"))
    described = yaml.safe_load((ROLES / role / "meta/main.yml").read_text())["galaxy_info"]
    assert described["description"]


@pytest.mark.parametrize("role", WORKLOADS)
def test_its_images_are_known(role: str) -> None:
    """A role that uses one must list it, or another role: else nobody asks for it before its pods are there."""
    used = {name for path in (ROLES / role / "templates").rglob("*.j2") for name in re.findall(r"\bplatform_images\.(\w+)", path.read_text())}
    assert used - set(interface().images) == set()


def test_every_pod_has_an_account_that_is_made_for_it() -> None:
    made = {(item["metadata"].get("namespace"), item["metadata"]["name"]) for item in rendered() if item["kind"] == "ServiceAccount"}
    pods = [(item["metadata"].get("namespace"), spec.get("serviceAccountName")) for item in rendered() for spec in pods_in(item)]
    assert len(pods) > 10 and set(pods) - made == set()
