"""Redis's users: the same rights in other words are no difference, and every other is named."""

from __future__ import annotations

import json
from typing import Any, cast

import pytest
from ansible_collections.shaka.platform.plugins.filter.redis_servers import redis_servers
from ansible_collections.shaka.platform.plugins.module_utils.data.postgres_instance import Failed
from ansible_collections.shaka.platform.plugins.module_utils.data.redis import CATEGORIES as NAMES
from ansible_collections.shaka.platform.plugins.module_utils.data.redis import User, allowed, differences, digest, unknown
from ansible_collections.shaka.platform.plugins.module_utils.data.redis_instance import RedisInstance
from ansible_collections.shaka.platform.plugins.plugin_utils.model.redis_acl import commands, user

CATEGORIES = {
    "string": frozenset({"get", "set", "append"}),
    "read": frozenset({"get", "keys", "object|freq", "object|help"}),
    "dangerous": frozenset({"keys", "flushall"}),
    "connection": frozenset({"client|id", "client|list", "select", "ping"}),
}
REDIS: Any = {"user": "prod", "prefix": "prod:", "database": 2, "allow": [], "dedicated": False}


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("-@all +@string", "-@all +get +set +append", True),
        ("-@all +@string", "-@all +@string -append", False),
        ("-@all +@read -@dangerous", "-@all +get +object", True),
        ("-@all +@connection -client|list -select +select|2", "-@all +client|id +ping +select|2", True),
        ("-@all +client", "-@all +client|id +client|list", True),
        ("-@all +select|2", "-@all +select|1", False),
        ("-@all +select|2", "-@all +select", False),
        ("+@all -@dangerous", "+@all -keys -flushall", True),
    ],
)
def test_rules_are_compared_by_what_they_allow(one: str, other: str, same: bool) -> None:
    assert (allowed(one.split(), CATEGORIES) == allowed(other.split(), CATEGORIES)) is same


WANTED = User("prod", "~prod:*", "&prod:*", ("-@all", "+@string"), digest("new"))
FOUND: dict[str, Any] = {
    "flags": ["on"],
    "passwords": [digest("new")],
    "commands": "-@all +get +set +append",
    "keys": "~prod:*",
    "channels": "&prod:*",
}


@pytest.mark.parametrize(
    ("live", "said"),
    [
        ({}, None), ({"flags": ["off"]}, "state"), ({"flags": ["on", "nopass"]}, "state"), ({"keys": "~*"}, "keys"), ({"channels": "&*"}, "channels"),
        ({"commands": "+@all"}, "commands"), ({"passwords": [digest("old")]}, "password"), ({"selectors": [{"keys": "~*"}]}, "keys"),
    ],
)  # fmt: skip
def test_each_difference_is_named_and_put_right(live: dict[str, Any], said: str | None) -> None:
    changes = differences([WANTED], {"default": FOUND, "prod": {**FOUND, **live}}, CATEGORIES)
    assert [text for text, _command in changes] == ([f"user prod: {said}"] if said else [])
    assert all(command == f"ACL SETUSER prod reset on #{digest('new')} ~prod:* &prod:* -@all +@string" for _text, command in changes)


@pytest.mark.parametrize(
    ("rules", "found"),
    [
        ("-@all +@string +get +client +client|list +select|2 -nothing", []),
        ("-@all +infoo +client|lst +get", ["infoo", "client|lst"]),
    ],
)
def test_a_command_that_this_redis_does_not_have_is_found(rules: str, found: list[str]) -> None:
    assert unknown(rules.split(), CATEGORIES) == found


class Answering:
    """A Redis that answers what it has, and takes nothing."""

    def execute(self, _namespace: str, _pod: str, *_command: str, text: str) -> tuple[bool, str]:
        lines = [[] if line == "ACL USERS" else sorted(CATEGORIES.get(line.split()[-1], ())) for line in text.splitlines()]
        assert len(lines) == 1 + len(NAMES), "no user is set"
        return True, "\n".join(map(json.dumps, lines))


def test_a_mistyped_command_is_named_with_its_variable_before_a_user_is_set() -> None:
    """Redis refuses it with every try, and what waits for it would say that Redis does not answer."""
    readers = {"namespace": "shaka-prod", "reads": {}, "apps": {}}
    given = {"environment": "prod", "in_run": True, "applications": readers, **WANTED._asdict(), "commands": ["-@all", "+get", "+apend"]}
    redis = RedisInstance(
        cast(Any, Answering()), cast(Any, {"namespace": "shared", "users": [given]}), {"prod": {"REDIS_PASSWORD": "x"}}, True, False
    )
    with pytest.raises(Failed, match=r"platform_environments\.prod\.redis\.allow: Redis in shared has no command apend; correct it"):
        redis.in_time(0)


def test_a_user_that_is_not_wanted_is_removed_and_the_administrator_is_not() -> None:
    changes = differences([WANTED], {"default": {}, "prod": FOUND, "intruder": FOUND}, CATEGORIES)
    assert [command for _text, command in changes] == ["ACL DELUSER intruder"]


def test_while_clients_change_over_both_passwords_are_good() -> None:
    old = {"prod": {**FOUND, "passwords": [digest("old")]}}
    ((_said, command),) = differences([WANTED], old, CATEGORIES, {"prod"})
    assert f"#{digest('old')}" in command and f"#{digest('new')}" in command
    both = {"prod": {**FOUND, "passwords": [digest("old"), digest("new")]}}
    assert differences([WANTED], both, CATEGORIES, {"prod"}) == []
    assert [said for said, _command in differences([WANTED], both, CATEGORIES)] == ["user prod: password"]


def test_a_shared_user_is_held_to_its_prefix_and_database_and_an_own_redis_is_not() -> None:
    assert (user(REDIS)["keys"], user(REDIS)["channels"]) == ("~prod:*", "&prod:*")
    assert commands(REDIS)[0] == "-@all" and "+select|2" in commands(REDIS)
    assert not {"+keys", "+flushdb", "+scan", "+select"} & set(commands(REDIS))
    own: Any = {**REDIS, "dedicated": True}
    assert (user(own)["keys"], user(own)["channels"]) == ("~*", "&*") and {"+keys", "+flushdb", "+scan", "+select"} <= set(commands(own))
    assert commands(cast(Any, {**REDIS, "allow": ["info"]}))[-1] == "+info"


def test_a_run_of_one_environment_keeps_the_others_users() -> None:
    shared, own = {**REDIS, "namespace": "shared"}, {**REDIS, "user": "dev", "namespace": "dev", "dedicated": True}
    pods = {"namespace": "n", "reads": {}, "apps": {}}
    every = {"prod": {"redis": shared, **pods}, "test": {"redis": {**shared, "user": "test"}, **pods}, "dev": {"redis": own, **pods}}
    servers = redis_servers(cast(Any, {"all_environments": every, "environments": {"prod": every["prod"]}}))
    assert [(server["namespace"], [user["name"] for user in server["users"]]) for server in servers] == [("shared", ["prod", "test"])]
    assert [server["namespace"] for server in redis_servers(cast(Any, {"all_environments": every, "environments": every}))] == ["shared", "dev"]
