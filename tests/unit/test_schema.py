"""Values of the inventory against a specification: types, defaults, and what an optional part requires."""

from typing import Any

import pytest
from ansible_collections.shaka.platform.plugins.plugin_utils.model import schema
from ansible_collections.shaka.platform.plugins.plugin_utils.model.problems import Problems

OPTIONS: dict[str, Any] = {
    "retries": {"type": "int", "default": 3},
    "reserved": {"type": "dict", "options": {"cpu": {"type": "str", "required": True}, "note": {"type": "str", "default": "none"}}},
}


@pytest.mark.parametrize(
    ("given", "expected", "told"),
    [
        ({}, {"retries": 3, "reserved": None}, []),
        ({"reserved": {"cpu": "250m"}}, {"retries": 3, "reserved": {"cpu": "250m", "note": "none"}}, []),
        ({"reserved": {"note": "x"}}, {"retries": 3, "reserved": None}, ["server.reserved"]),
        ({"reserved": {"cpu": [1]}}, {"retries": 3, "reserved": None}, ["server.reserved.cpu", "server.reserved"]),
    ],
)
def test_a_part_may_be_left_out_whole_but_not_what_it_requires(given: dict[str, Any], expected: dict[str, Any], told: list[str]) -> None:
    problems = Problems()
    assert schema.complete(given, OPTIONS, "server", problems) == expected
    assert [problem.path for problem in problems] == told
