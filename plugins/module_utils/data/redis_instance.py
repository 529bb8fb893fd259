# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Asks and changes one Redis, the shared one or an environment's own, inside its pod as its administrator."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

from ansible_collections.shaka.platform.plugins.module_utils.model_types import RedisServerGiven, RedisUserGiven

from ..kubectl import Kubectl, Unanswered, until_answered
from .changeover import Applications
from .postgres_instance import Failed
from .redis import (
    ADMIN,
    CATEGORIES,
    Categories,
    User,
    answers,
    copier,
    differences,
    digest,
    forget,
    others,
    preview_of,
    question,
    question_users,
    unknown,
)

POD = "redis-0"
CLI = ["redis-cli", "-3", "--json"]
DATABASES = 16  # Redis's own number
# A module's option `servers`: what the filter redis_servers makes of the model
SERVERS: dict[str, Any] = {
    "type": "list",
    "elements": "dict",
    "required": True,
    "options": {
        "namespace": {"type": "str", "required": True},
        "users": {"type": "list", "elements": "dict", "required": True},
        "copied": {"type": "str", "default": ""},
        "ended": {"type": "list", "elements": "str", "default": []},
        "complete": {"type": "bool", "default": False},
    },
}
PresentUsers = Mapping[str, Mapping[str, Any]]  # name -> what ACL GETUSER says


class RedisState(NamedTuple):
    """What was changed in one Redis (in check mode: would be), and what remains to be done, by environment."""

    made: Sequence[str] = ()
    kept: Sequence[str] = ()  # a replaced password is still accepted, because some of their pods may hold it
    left: Sequence[str] = ()  # they are part of the run, but their password differs from the inventory's and this call does not change it
    pending: str = ""  # why it does not answer


class RedisUser(NamedTuple):
    """A user as it should be, and the environment whose user it is."""

    user: User
    environment: str
    password: str
    applications: Applications
    in_run: bool
    follows: bool  # whether its pods get a changed password in this run


class RedisInstance:
    """One Redis.

    :arg server: its namespace and its users, as the filter redis_servers makes them.
    :arg passwords: environment -> REDIS_PASSWORD, and BACKUP_KEY of the group that `copied` names.
    :arg rotate: whether changed passwords are put in force, for the environments of this run. Where no application runs, nobody holds the old one, so
        a changed password is always put in force. Otherwise a user keeps its passwords, and a new one gets that of the application's Secret.
    :arg check: change nothing.
    """

    def __init__(self, kubectl: Kubectl, server: RedisServerGiven, passwords: Mapping[str, Mapping[str, str]], rotate: bool, check: bool) -> None:
        self.kubectl, self.namespace, self.check = kubectl, str(server["namespace"]), check
        self.ended, self.complete = {*(server.get("ended") or [])}, bool(server.get("complete"))
        copied = str(server.get("copied") or "")
        self.copiers = [copier(passwords[copied]["BACKUP_KEY"])] if copied else []
        self.users = [self._user(user, passwords[user["environment"]]["REDIS_PASSWORD"], rotate) for user in server["users"]]

    def _user(self, entry: RedisUserGiven, password: str, rotate: bool) -> RedisUser:
        user = User(entry["name"], entry["keys"], entry["channels"], entry["commands"], digest(password))
        in_run = bool(entry["in_run"])
        return RedisUser(user, entry["environment"], password, Applications(self.kubectl, entry["applications"], "redis"), in_run, in_run and rotate)

    def in_time(self, deadline: float) -> RedisState:
        """Calls `ensure` again until Redis answers or the deadline (of time.monotonic) has passed."""
        deadline = 0 if self.check else deadline
        try:
            return until_answered(lambda: self.ensure(deadline), deadline)
        except Unanswered as error:
            return RedisState(pending=str(error) or "no answer")

    def ensure(self, deadline: float) -> RedisState:
        """Bring its users to the desired ones; raises Unanswered, Failed.

        :arg deadline: how long to wait for pods that still hold a replaced password to end.
        """
        names, *members = self.ask(question())
        categories = {name: frozenset(commands) for name, commands in zip(CATEGORIES, members, strict=True)}
        self._refuse_unknown(categories)
        present = dict(zip(names, self.ask(question_users(names)), strict=True))
        left = {one.user.name for one in self.users if self._left_alone(one, present)}
        kept = {one.user.name for one in self.users if one.user.name not in left and self._keeps(one, present, deadline)}
        wanted = {one.user.name for one in self.users}
        previews = {name: preview for name, user in present.items() if name not in wanted and (preview := preview_of(user))}
        over = {name: preview for name, preview in previews.items() if self.complete or preview in self.ended}
        earlier = self._earlier({*present} - {*wanted, *previews, ADMIN, *(one.name for one in self.copiers)}, present, deadline)
        spared = {*previews, *earlier} - {*over}
        changes = differences([*(self._desired(one, present) for one in self.users), *self.copiers], present, categories, kept, left, spared)
        if changes and not self.check:
            for name, preview in over.items():
                self.forget(name, preview)
            self.ask("".join(f"{command}\n" for _summary, command in [*changes, ("", "ACL SAVE")]))
        return RedisState(
            [f"{self.namespace}: {summary}" for summary, _command in changes],
            [*(one.environment for one in self.users if one.user.name in kept), *earlier.values()],
            [one.environment for one in self.users if one.in_run and one.user.name in left and not self._has_desired(one, present)],
        )

    def _earlier(self, others: Collection[str], present: PresentUsers, deadline: float) -> dict[str, str]:
        """Name -> environment of each user that had the environment's keys under another name, and that pods may still log in as."""
        found = {name: one for name in others for one in self.users if present[name]["keys"] == one.user.keys}
        return {name: one.environment for name, one in found.items() if not one.applications.held_by_all("REDIS_PASSWORD", one.password, deadline)}

    def _refuse_unknown(self, categories: Categories) -> None:
        flaws = [
            f"platform_environments.{one.environment}.redis.allow: Redis in {self.namespace} has no command {', '.join(names)}; correct it"
            for one in self.users
            if (names := unknown(one.user.commands, categories))
        ]
        if flaws:
            raise Failed("\n".join(flaws))

    def forget(self, user: str, preview: str) -> None:
        """Remove a preview's keys, once its user writes no more; the user itself goes last, so that a killed run is continued. Raises Unanswered."""
        self.ask(f"ACL SETUSER {user} off\nCLIENT KILL USER {user}\n")
        cursors = dict.fromkeys(range(DATABASES), "0")
        while cursors:
            answered = zip(cursors, self.ask(forget(cursors, preview)), strict=True)
            cursors = {database: str(cursor) for database, cursor in answered if str(cursor) != "0"}

    @staticmethod
    def _has_desired(one: RedisUser, present: PresentUsers) -> bool:
        return one.user.password in present[one.user.name]["passwords"]

    @staticmethod
    def _desired(one: RedisUser, present: PresentUsers) -> User:
        """A new user gets the password that its pods read from their Secret, where this run does not change that."""
        current = None if one.follows or one.user.name in present else one.applications.given("REDIS_PASSWORD")
        return one.user if current is None else one.user._replace(password=digest(current))

    @staticmethod
    def _left_alone(one: RedisUser, present: PresentUsers) -> bool:
        """Whether its passwords stay as they are: pods may hold another one, and do not get the new one in this run."""
        return not one.follows and bool(others(one.user, present)) and one.applications.there()

    @staticmethod
    def _keeps(one: RedisUser, present: PresentUsers, deadline: float) -> bool:
        """Whether replaced passwords stay valid besides the new one."""
        return bool(others(one.user, present)) and not one.applications.held_by_all("REDIS_PASSWORD", one.password, deadline)

    def ask(self, text: str) -> list[Any]:
        """The answers of redis-cli; raises Unanswered."""
        ok, output = self.kubectl.execute(self.namespace, POD, *CLI, text=text)
        try:
            items = answers(output) if ok else []
        except ValueError:
            items = []
        if len(items) != len(text.splitlines()):
            raise Unanswered(output.strip() or "no answer")
        refused = [item for item in items if isinstance(item, str) and item.startswith(("ERR", "NOPERM", "NOAUTH", "LOADING", "BUSY"))]
        if refused:
            raise Unanswered(refused[0])
        return items
