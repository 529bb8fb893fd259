"""The survey: which roles would change nothing, asked once; and when a role may rely on its answer."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.shaka.platform.plugins.action.survey_sets import trusted
from ansible_collections.shaka.platform.plugins.module_utils.engine import applier, survey
from ansible_collections.shaka.platform.plugins.module_utils.engine.admission import Admission
from ansible_collections.shaka.platform.plugins.module_utils.engine.client import Unreachable
from ansible_collections.shaka.platform.plugins.module_utils.engine.identity import MANAGED_BY, MANAGER, PART_OF, ROLE, SET
from ansible_collections.shaka.platform.plugins.plugin_utils.plan.request import digest_of
from test_apply_set_run import DEV, PLURALS, PROD, Server, named, params, server

__all__ = ["server"]  # the fixture
A, B = params({"a.dev": DEV}, role="a"), params({"b.prod": PROD}, role="b")


def look(*requests: dict[str, Any]) -> dict[str, Any]:
    return survey.survey(requests)


def test_a_role_whose_objects_are_as_wanted_gets_the_answer_that_applying_would_give(server: Server) -> None:
    for request in (A, B):
        applier.run(request, False, False)
    server.log.clear()
    found = look(A, B)
    assert not server.log  # it changes nothing
    assert found == {"a": applier.run(A, False, False), "b": applier.run(B, False, False)}


@pytest.mark.parametrize(
    "objects",
    [
        [named("ConfigMap", "a", "prod", data={"k": "2"}), PROD[1]],  # changed
        [PROD[1]],  # one to be pruned
        [*PROD, named("ConfigMap", "new", "prod")],  # one to be made
        [*PROD, named("ConfigMap", "BAD", "prod")],  # one that is refused
    ],
)
def test_a_role_with_anything_to_do_is_left_to_itself(server: Server, objects: list[dict[str, Any]]) -> None:
    for request in (A, B):
        applier.run(request, False, False)
    assert set(look(A, params({"b.prod": objects}, role="b"))) == {"a"}


FIELDS = {"f:metadata": {"f:labels": {f"f:{name}": {} for name in (MANAGED_BY, PART_OF, ROLE, SET)}}, "f:data": {"f:k": {}}}
OURS = {"manager": MANAGER, "operation": "Apply", "apiVersion": "v1", "fieldsV1": FIELDS}
KEY = {"manager": "kubectl-edit", "operation": "Update", "apiVersion": "v1", "fieldsV1": {"f:data": {"f:by_hand": {}}}}


@pytest.mark.parametrize(
    ("by_hand", "judged", "asked"),
    [
        ({}, False, False),
        ({}, True, True),
        ({"data": {"k": "2"}}, False, True),  # changed
        ({"data": {"k": "1", "by_hand": "x"}}, False, True),  # added to
    ],
)
def test_the_server_is_asked_for_a_dry_run_where_what_was_read_does_not_tell(
    server: Server, monkeypatch: pytest.MonkeyPatch, by_hand: dict[str, Any], judged: bool, asked: bool
) -> None:
    """The server in memory keeps no fields, so these are given; a request other than the expected ones is an error of it."""
    applier.run(B, False, False)
    path = next(path for path in server.objects if path.endswith("/configmaps/a"))
    tried: list[str] = []
    apply = server.apply

    def noted(path: str, *rest: Any) -> Any:
        tried.append(path)
        return apply(path, *rest)

    monkeypatch.setattr(server, "apply", noted)
    monkeypatch.setattr(server, "request", _removes(server.request))
    monkeypatch.setattr(Admission, "concerns", lambda _self, _resource: judged)
    server.objects[path].update(by_hand)
    server.objects[path]["metadata"]["managedFields"] = [OURS, *([KEY] if "by_hand" in server.objects[path]["data"] else [])]
    assert ("b" in look(B)) is (not by_hand)
    assert (path in tried) is asked


def _removes(request: Any) -> Any:
    """Answers the dry run of taking `data.by_hand` out."""

    def answer(method: str, path: str, query: Any = None, body: Any = None, headers: Any = None) -> Any:
        if method != "PATCH":
            return request(method, path, query, body, headers)
        assert query["dryRun"] == "All" and body[1:] == [{"op": "remove", "path": "/data/by_hand"}]
        return named("ConfigMap", "a", "prod", data={"k": "1"})

    return answer


def test_a_role_that_is_not_ready_is_left_to_itself_so_that_applying_it_waits(server: Server) -> None:
    applier.run(A, False, False)
    server.phase = "Terminating"
    assert look(A) == {}


def test_without_a_cluster_every_role_is_left_to_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody(*_args: Any, **_kwargs: Any) -> None:
        raise Unreachable("nobody there")

    monkeypatch.setattr(applier, "Api", nobody)
    assert look(A, B) == {}


def test_each_kind_is_read_once_for_all_roles(server: Server) -> None:
    for request in (A, B):
        applier.run(request, False, False)
    server.lists.clear()
    look(A, B)
    assert sorted(server.lists) == sorted(PLURALS.values())


@pytest.mark.parametrize(
    ("unchanged", "check", "kept"),
    [
        ("abc", False, "abc"),
        ("ac", False, "a"),  # what b changes may concern c
        ("bc", False, ""),
        ("ac", True, "ac"),  # a check run changes nothing
    ],
)
def test_in_a_real_run_answers_hold_until_the_first_role_that_changes_something(unchanged: str, check: bool, kept: str) -> None:
    assert trusted("abc", dict.fromkeys(unchanged), check) == list(kept)


@pytest.mark.parametrize(
    "change", [{"secrets": {"s/N": "2"}}, {"delete": ["namespaces/x"]}, {"complete": False}, {"manifests": ["/m"]}, {"sets": []}]
)
def test_an_answer_is_for_exactly_what_was_asked(change: dict[str, Any]) -> None:
    asked = {**A, "secrets": {"s/N": "1"}, "manifests": []}
    assert digest_of(asked) == digest_of(dict(asked)) != digest_of({**asked, **change})
    assert digest_of(asked) == digest_of({**asked, "wait_timeout": 9})
