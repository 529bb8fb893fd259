# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Checks that the rules of platform_drift_ignore can be read. Whether each has a reason and is still valid is for the drift report to say."""

from __future__ import annotations

import datetime
import re
from collections.abc import Mapping
from typing import Any

from ansible_collections.shaka.platform.plugins.plugin_utils.field_query import MISSING, FieldQuery, QueryError
from ansible_collections.shaka.platform.plugins.plugin_utils.model.problems import Problems

VARIABLE = "platform_drift_ignore"


def check(entries: list[Mapping[str, Any]], problems: Problems) -> None:
    """Each entry names objects by their kind, and fields by a JMESPath expression."""
    for number, rule in enumerate(entries):
        path = f"{VARIABLE}[{number}]"
        problems.check(f"{path}.kind", None if rule["kind"] else "is not filled in; name the kind of the objects, such as Deployment")
        problems.check(f"{path}.query", _query(rule["query"]), rule["query"])
        problems.check(f"{path}.until", _date(rule["until"]), rule["until"])
    unable = [problem for problem in problems if problem.text.endswith(MISSING)]
    if unable:  # reported once, not for each entry
        problems[:] = [problem for problem in problems if problem not in unable]
        problems.add(VARIABLE, MISSING)


def _query(expression: str) -> str | None:
    if not expression:
        return "is not filled in; name the fields by a JMESPath expression, such as spec.replicas"
    try:
        FieldQuery(expression)
    except QueryError as error:
        return str(error)
    return None


def _date(value: str) -> str | None:
    """A calendar date (ISO 8601, extended format), or nothing."""
    if not value or (re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", value) and _in_calendar(value)):
        return None
    return "is not a date of the calendar; write it as YYYY-MM-DD, such as 2027-01-31"


def _in_calendar(value: str) -> bool:
    try:
        return bool(datetime.date.fromisoformat(value))
    except ValueError:
        return False
