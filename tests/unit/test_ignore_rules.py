"""The rules of platform_drift_ignore: which differences they cover, which objects they concern, when they hold."""

from __future__ import annotations

import datetime
from typing import Any

import pytest
from ansible_collections.shaka.platform.plugins.module_utils.engine.content import differing
from ansible_collections.shaka.platform.plugins.plugin_utils import field_query
from ansible_collections.shaka.platform.plugins.plugin_utils.field_query import QueryError
from ansible_collections.shaka.platform.plugins.plugin_utils.model import drift_ignore
from ansible_collections.shaka.platform.plugins.plugin_utils.model.problems import Problems
from ansible_collections.shaka.platform.plugins.plugin_utils.report.ignore_rules import divide, in_force, mark, read_rules

TODAY = datetime.date(2026, 11, 26)
IMAGE = "spec.containers[?name=='api'].image"


def state(**spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": "x"}, "spec": spec}


def containers(*pairs: str, **more: Any) -> list[dict[str, Any]]:
    """`api=a:1` as a container."""
    return [{**dict(zip(("name", "image"), pair.split("="), strict=True)), **more} for pair in pairs]


@pytest.mark.parametrize(
    ("query", "before", "after", "counted", "ignored"),
    [
        ("spec.replicas", state(replicas=5), state(replicas=2), [], ["spec.replicas"]),
        ("spec.replicas", state(replicas=5, paused=True), state(replicas=2), ["spec.paused"], ["spec.replicas"]),
        ("spec", state(replicas=5, paused=True), state(replicas=2), [], ["spec.paused", "spec.replicas"]),
        ("spec.paused", state(paused=True), state(), [], ["spec.paused"]),
        ("spec.paused", state(), state(paused=False), [], ["spec.paused"]),
        ("spec.containers", state(replicas=5), state(replicas=2), ["spec.replicas"], []),
        # by a condition, whichever position the item has
        (IMAGE, state(containers=containers("api=a:1")), state(containers=containers("api=a:2")), [], ["spec.containers[api].image"]),
        (IMAGE, state(containers=containers("p=p:1", "api=a:1")), state(containers=containers("p=p:2", "api=a:2")),
         ["spec.containers[p].image"], ["spec.containers[api].image"]),
        # a whole container that came or went is more than its image
        (IMAGE, state(containers=[]), state(containers=containers("api=a:1")), ["spec.containers[api].name"], ["spec.containers[api].image"]),
        ("spec.containers[?name=='debug']", state(containers=containers("api=a:1", "debug=d:1")), state(containers=containers("api=a:1")),
         [], ["spec.containers[debug]"]),
        # below a mapping that only one of them has
        ("spec.labels.a", state(labels={"a": "1", "b": "2"}), state(), ["spec.labels.b"], ["spec.labels.a"]),
        ('spec.labels."x.io/a"', state(labels={"x.io/a": "1"}), state(), [], ["spec.labels"]),
        ("spec.labels", state(labels={}), state(), [], ["spec.labels"]),
        # lists without names: an item of them where the lengths agree, else the list
        ("spec.args[1]", state(args=["a", "b"]), state(args=["a", "c"]), [], ["spec.args"]),
        ("spec.args[1]", state(args=["a", "b"]), state(args=["x", "c"]), ["spec.args[0]"], ["spec.args[1]"]),
        ("spec.args[1]", state(args=["a", "b"]), state(args=["a"]), ["spec.args"], []),
        ("spec.args", state(args=["a", "b"]), state(args=["a"]), [], ["spec.args"]),
        # the order of named items is a difference of the list
        ("spec.containers[*].image", state(containers=containers("a=1", "b=2")), state(containers=containers("b=2", "a=1")), ["spec.containers"], []),
        ("spec.containers", state(containers=containers("a=1", "b=2")), state(containers=containers("b=2", "a=1")), [], ["spec.containers"]),
    ],
)  # fmt: skip
def test_what_a_query_covers(query: str, before: Any, after: Any, counted: list[str], ignored: list[str]) -> None:
    (rule,) = read_rules([{"kind": "Deployment", "query": query, "reason": "known"}])
    rest, covered = divide(differing(before, after), before, after, [rule])
    assert (rest, [field for each in covered for field in each.fields]) == (counted, ignored)


def test_what_the_states_do_not_show_is_never_ignored() -> None:
    (rule,) = read_rules([{"kind": "Deployment", "query": "@", "reason": "known"}])
    before, after = state(replicas=1), state(replicas=2)
    counted, ignored = divide(["metadata.deletionTimestamp", "spec.replicas"], before, after, [rule])
    assert counted == ["metadata.deletionTimestamp"]
    assert ignored[0].fields == ("spec.replicas",)


def test_the_first_rule_that_covers_a_field_has_it() -> None:
    rules = read_rules([{"kind": "Deployment", "query": query, "reason": query} for query in ("spec.replicas", "spec")])
    before, after = state(replicas=1, paused=True), state(replicas=2)
    assert [(each.rule, each.fields) for each in divide(differing(before, after), before, after, rules)[1]] == [
        (0, ("spec.replicas",)),
        (1, ("spec.paused",)),
    ]


@pytest.mark.parametrize(
    ("entry", "concerned"),
    [
        ({}, True),
        ({"namespace": "shaka-prod", "name": "shaka-api"}, True),
        ({"namespace": "shaka-*"}, True),
        ({"name": "*-api"}, True),
        ({"namespace": "shaka-dev"}, False),
        ({"name": "shaka"}, False),
        ({"kind": "StatefulSet"}, False),
    ],
)
def test_which_objects_a_rule_concerns(entry: dict[str, str], concerned: bool) -> None:
    (rule,) = read_rules([{"kind": "Deployment", "query": "spec.replicas", "reason": "x", **entry}])
    assert rule.concerns("Deployment", "shaka-prod", "shaka-api") is concerned


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        ({"reason": "x"}, None),
        ({"reason": "x", "until": None}, None),
        ({"reason": "x", "until": TODAY}, None),  # as YAML reads a date
        ({"reason": "x", "until": "2026-11-25"}, "ended on 2026-11-25"),
        ({"reason": " "}, "has no reason"),
        ({}, "has no reason"),
        ({"reason": "x", "until": "soon"}, "'soon'"),
    ],
)
def test_when_a_rule_holds(entry: dict[str, Any], says: str | None) -> None:
    rules = read_rules([{"kind": "Deployment", "query": "spec.replicas", **entry}])
    lapsed = rules[0].lapsed(TODAY)
    assert lapsed is None if says is None else lapsed is not None and says in lapsed
    assert in_force(rules, TODAY) == (rules if says is None else [])


def test_no_rules() -> None:
    assert read_rules("") == read_rules(None) == read_rules([]) == []


def entry(**more: Any) -> dict[str, Any]:
    states = {"before": state(replicas=5, paused=True), "after": state(replicas=2)}
    return {
        "kind": "Deployment",
        "namespace": "prod",
        "name": "api",
        "action": "changed",
        "fields": ["spec.paused", "spec.replicas"],
        **states,
        **more,
    }


def test_an_entry_is_marked_and_loses_its_states() -> None:
    marked, other = entry(), entry(kind="StatefulSet")
    rules = read_rules([{"kind": "Deployment", "query": "spec.replicas", "reason": "load", "until": "2027-01-31"}])
    for each in (marked, other):
        mark(each, rules)
        assert "before" not in each and "after" not in each
    assert marked["fields"] == ["spec.paused", "spec.replicas"]
    assert marked["ignored"] == [{"rule": 0, "fields": ("spec.replicas",), "reason": "load", "until": "2027-01-31"}]
    assert "ignored" not in other


def test_a_query_that_cannot_be_answered_names_its_entry() -> None:
    rules = read_rules([{"kind": "Deployment", "query": "spec.*", "reason": "x"}, {"kind": "Deployment", "query": "[spec][?abs(@)]", "reason": "x"}])
    with pytest.raises(QueryError, match=r"platform_drift_ignore\[1\] .*abs"):
        mark(entry(), rules)


def test_a_missing_jmespath_is_said_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(field_query, "Parser", None)
    problems = Problems()
    filled = {"kind": "Deployment", "query": "spec.replicas", "until": ""}
    drift_ignore.check([filled, filled], problems)
    assert [(problem.path, "pip install jmespath" in problem.text) for problem in problems] == [("platform_drift_ignore", True)]
    without = Problems()
    drift_ignore.check([], without)
    assert without == []
