# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One Redis, the shared one or an environment's own, asked and changed inside its pod as its administrator."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from ..kubectl import Kubectl, Unanswered, until_answered
from .changeover import Application
from .redis import CATEGORIES, User, answers, differences, digest, others, question, question_users

POD = "redis-0"
CLI = ["redis-cli", "-3", "--json"]
Found = Mapping[str, Mapping[str, Any]]


class RedisState(NamedTuple):
    """What was set in one Redis (in check mode: would be), and what is left. Of its environments."""

    made: Sequence[str] = ()
    kept: Sequence[str] = ()  # a password that was replaced is still good, as some of their pods may hold it
    left: Sequence[str] = ()  # they are part of the run, and have another password than the inventory says, which this call does not change
    pending: str = ""  # why it does not answer


class RedisUser(NamedTuple):
    """A user as it should be, and whose it is."""

    user: User
    environment: str
    password: str
    application: Application
    in_run: bool
    follows: bool  # whether its pods are given a changed password in this run


class RedisInstance:
    """One Redis.

    :arg given: its namespace and its users, as the filter redis_servers makes them.
    :arg passwords: environment -> REDIS_PASSWORD.
    :arg rotate: whether changed passwords are put in force, for the environments of this run. They are, too, where no application runs that could
        have the old one. Else a user keeps its passwords, and a new one has that of the Secret that the application reads.
    :arg check: only ask.
    """

    def __init__(self, kubectl: Kubectl, given: Mapping[str, Any], passwords: Mapping[str, Mapping[str, str]], rotate: bool, check: bool) -> None:
        self.kubectl, self.namespace, self.check = kubectl, str(given["namespace"]), check
        self.users = [self._user(user, passwords[user["environment"]]["REDIS_PASSWORD"], rotate) for user in given["users"]]

    def _user(self, given: Mapping[str, Any], password: str, rotate: bool) -> RedisUser:
        user = User(given["name"], given["keys"], given["channels"], given["commands"], digest(password))
        in_run = bool(given["in_run"])
        return RedisUser(user, given["environment"], password, Application(self.kubectl, given["application"]), in_run, in_run and rotate)

    def in_time(self, deadline: float) -> RedisState:
        """`ensure`, asked again until the deadline (of time.monotonic)."""
        deadline = 0 if self.check else deadline
        try:
            return until_answered(lambda: self.ensure(deadline), deadline)
        except Unanswered as error:
            return RedisState(pending=str(error) or "no answer")

    def ensure(self, deadline: float) -> RedisState:
        """Bring its users to those wanted; raises Unanswered.

        :arg deadline: until when pods that end with a password that was replaced are waited for.
        """
        names, *members = self.ask(question())
        categories = {name: frozenset(found) for name, found in zip(CATEGORIES, members, strict=True)}
        found = dict(zip(names, self.ask(question_users(names)), strict=True))
        left = {one.user.name for one in self.users if self._left_alone(one, found)}
        kept = {one.user.name for one in self.users if one.user.name not in left and self._keeps(one, found, deadline)}
        changes = differences([self._wanted(one, found) for one in self.users], found, categories, kept, left)
        if changes and not self.check:
            self.ask("".join(f"{command}\n" for _said, command in [*changes, ("", "ACL SAVE")]))
        return RedisState(
            [f"{self.namespace}: {said}" for said, _command in changes],
            [one.environment for one in self.users if one.user.name in kept],
            [one.environment for one in self.users if one.in_run and one.user.name in left and not self._has_its_own(one, found)],
        )

    @staticmethod
    def _has_its_own(one: RedisUser, found: Found) -> bool:
        return one.user.password in found[one.user.name]["passwords"]

    @staticmethod
    def _wanted(one: RedisUser, found: Found) -> User:
        """A new user has the password that its pods are given: the one of their Secret, where that is not changed in this run."""
        given = None if one.follows or one.user.name in found else one.application.given("REDIS_PASSWORD")
        return one.user if given is None else one.user._replace(password=digest(given))

    @staticmethod
    def _left_alone(one: RedisUser, found: Found) -> bool:
        """Whether its passwords stay as they are: another is good, somebody may hold it, and will not be given the new one in this run."""
        return not one.follows and bool(others(one.user, found)) and one.application.deployment() is not None

    @staticmethod
    def _keeps(one: RedisUser, found: Found, deadline: float) -> bool:
        """Whether passwords that were replaced stay good beside its own."""
        return bool(others(one.user, found)) and not one.application.held_by_all("REDIS_PASSWORD", one.password, deadline)

    def ask(self, text: str) -> list[Any]:
        """The answers of redis-cli; raises Unanswered."""
        ok, said = self.kubectl.execute(self.namespace, POD, *CLI, text=text)
        try:
            found = answers(said) if ok else []
        except ValueError:
            found = []
        if len(found) != len(text.splitlines()):
            raise Unanswered(said.strip() or "no answer")
        refused = [item for item in found if isinstance(item, str) and item.startswith(("ERR", "NOPERM", "NOAUTH", "LOADING", "BUSY"))]
        if refused:
            raise Unanswered(refused[0])
        return found
