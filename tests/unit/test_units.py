"""Several systemd units in one call."""

from __future__ import annotations

import pytest
from ansible_collections.shaka.platform.plugins.modules import units


class Systemd:
    """Answers as systemctl does, from a table of units."""

    def __init__(self, **states: dict[str, str]) -> None:
        self.states = states
        self.commands: list[list[str]] = []

    def __call__(self, command: list[str]) -> tuple[int, str, str]:
        action, names = command[1], command[2:]
        if action == "show":
            return 0, "\n\n".join("\n".join(f"{key}={value}" for key, value in self.states[name].items()) for name in names[1:]) + "\n", ""
        self.commands.append(command[1:])
        for name in names:
            if action == "unmask":
                self.states[name] |= {"LoadState": "loaded", "UnitFileState": "disabled"}
            if action == "enable" and name in self.states:
                met = self.states[name]["ConditionResult"] == "yes"
                self.states[name] |= {"UnitFileState": "enabled", "ActiveState": "active" if met else "inactive", "ConditionTimestampMonotonic": "5"}
        return 0, "", ""


def unit(file: str = "enabled", active: str = "active", load: str = "loaded", *, met: bool = True, tried: str = "5") -> dict[str, str]:
    result = {"LoadState": load, "UnitFileState": file, "ActiveState": active, "ConditionResult": "yes" if met else "no"}
    return {**result, "ConditionTimestampMonotonic": tried, "NextElapseUSecRealtime": ""}


def test_only_what_is_not_running_is_started_and_a_mask_goes() -> None:
    systemd = Systemd(a=unit(), b=unit("disabled", "inactive"), c=unit("masked", "inactive", "masked"))
    assert units.run(["a", "b", "c"], True, systemd)["started"] == ["b", "c"] and systemd.commands == []
    result = units.run(["a", "b", "c"], False, systemd)
    assert systemd.commands == [["unmask", "c"], ["enable", "--now", "b", "c"]]
    assert result["diff"]["after"] == "b: enabled, active\nc: enabled, active\n"
    assert units.run(["a", "b", "c"], False, systemd)["changed"] is False


def test_a_unit_whose_conditions_are_not_met_is_said_and_left() -> None:
    systemd = Systemd(clock=unit("disabled", "inactive", met=False, tried="0"))
    assert units.run(["clock"], False, systemd)["changed"]
    again = units.run(["clock"], False, systemd)
    assert again["changed"] is False and again["skipped_units"] == ["clock: a condition of the unit is not met on this server"]


def test_a_missing_unit_is_an_error_but_not_in_a_check() -> None:
    systemd = Systemd(gone=unit("", "inactive", "not-found"))
    assert units.run(["gone"], True, systemd)["changed"]
    with pytest.raises(units.UnitError, match="gone: not installed"):
        units.run(["gone"], False, systemd)


def test_a_timer_says_when_it_is_next() -> None:
    timer = {**unit(), "NextElapseUSecRealtime": "Mon 2026-11-23 03:55:29 UTC"}
    assert units.run(["t.timer"], False, Systemd(**{"t.timer": timer}))["next"] == {"t.timer": "Mon 2026-11-23 03:55:29 UTC"}
