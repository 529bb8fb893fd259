# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One environment's Postgres, asked and changed inside its pod as the superuser `postgres`."""

from __future__ import annotations

import json
from collections.abc import Container, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import replace
from typing import Any, NamedTuple

from ..kubectl import Kubectl, Unanswered, until_answered
from . import stand_in
from .changeover import Application
from .postgres import (
    ADMIN,
    LOGIN,
    POOLER,
    Passwords,
    SqlChange,
    Wanted,
    left_alone,
    login,
    no_login,
    outdated,
    question,
    role_changes,
    script,
)
from .volumes import refusals, volumes

POD = "postgres-0"
PSQL = ["psql", "--no-psqlrc", "--username", ADMIN, "--dbname", ADMIN]


class Failed(Exception):
    """What a person has to see to; the text is for them."""


class PostgresState(NamedTuple):
    """What was made in one Postgres (in check mode: would be), and what is left."""

    made: Sequence[str] = ()
    left: Sequence[str] = ()  # roles that have another password than the inventory says, which this call does not change
    stand_in: bool = False
    pending: str = ""  # why it does not answer


def desired(env: Mapping[str, Any], secrets: Mapping[str, str]) -> Wanted:
    """What the inventory says of an environment's Postgres."""
    spec = env["postgres"]
    passwords = {spec["app_user"] or spec["user"]: secrets["DB_PASSWORD"]}
    if spec["app_user"]:
        passwords[spec["user"]] = secrets["DB_OWNER_PASSWORD"]
    if spec["pgbouncer"]["enabled"]:
        passwords[POOLER] = secrets["PGBOUNCER_PASSWORD"]
    if not all(password.isascii() for password in passwords.values()):
        raise Failed(f"a database password of {env['name']} has characters outside ASCII, which clients encode differently: use others")
    return Wanted(spec["user"], passwords, (spec["database"], *spec["databases"]), tuple(spec["extensions"]), spec["app_user"], POOLER in passwords)


def refuse_volumes(kubectl: Kubectl, environments: Mapping[str, Mapping[str, Any]], image: str, pool: Executor) -> None:
    """Raises Failed with all that the volumes cannot follow."""
    claims, persistent = (pool.submit(kubectl.get, f"/api/v1/{kind}") for kind in ("persistentvolumeclaims", "persistentvolumes"))
    found = volumes(*((answer.result()[0] or {}).get("items", []) for answer in (claims, persistent)))
    refused = [text for name, env in environments.items() for text in refusals(name, env, found.get(env["namespace"]), image)]
    if refused:
        raise Failed("\n".join(refused))


class PostgresInstance:
    """One environment's Postgres.

    :arg passwords: whose changed passwords are put in force. The application's is, too, where no application runs that could have the old one.
        Else its role keeps its password, and a new one has that of the Secret that the application reads.
    :arg check: only ask.
    """

    def __init__(self, kubectl: Kubectl, env: Mapping[str, Any], what: Wanted, passwords: Passwords, check: bool) -> None:
        self.kubectl, self.env, self.what, self.passwords, self.check = kubectl, env, what, passwords, check
        self.application = Application(kubectl, env)

    def in_time(self, deadline: float, rollout: float) -> PostgresState:
        """`ensure`, asked again until the deadline (of time.monotonic); raises Failed."""
        deadline = 0 if self.check else deadline
        try:
            return until_answered(lambda: self.ensure(deadline, rollout), deadline)
        except Unanswered as error:
            return PostgresState(pending=str(error) or "no answer")

    def ensure(self, deadline: float, rollout: float) -> PostgresState:
        """Bring it to what is wanted.

        :arg deadline: until when pods that end with a stand-in are waited for.
        :arg rollout: seconds that the application may take to change over to a stand-in.
        :raises Unanswered, Failed:
        """
        cluster, databases = self.look()
        left = self._left_alone(cluster["roles"])
        changes = role_changes(self._wanted(cluster["roles"]), cluster, databases, left)
        has_stand_in = LOGIN in cluster["roles"]
        if not self.check:
            if self.what.client not in left and outdated(self.what, cluster["roles"], self.what.client):
                has_stand_in = self._change_over(rollout) or has_stand_in
            self.make(changes)
        if has_stand_in and self.passwords is Passwords.APPLICATION and stand_in.unused(self.application, deadline):
            has_stand_in, gone = False, no_login(self.what.client, [name for name in self.what.databases if name in cluster["databases"]])
            changes.append(gone[-1])
            if not self.check:
                stand_in.remove(self.application)
                self.make(gone)
        made = [f"{self.env['name']}: {change.said}" for change in changes]
        return PostgresState(made, sorted(name for name in left if outdated(self.what, cluster["roles"], name)), has_stand_in)

    def look(self) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
        """What the server holds, and what its databases hold; raises Unanswered or Failed."""
        ok, said = self.kubectl.execute(self.env["namespace"], POD, *PSQL, text=question(self.what))
        if not ok and f'role "{ADMIN}" does not exist' in said:
            raise Failed(
                f"{self.env['namespace']}: the Postgres was made by another superuser than '{ADMIN}'. Make that role once, and run again:\n"
                f"    kubectl exec -n {self.env['namespace']} {POD} -- createuser -U {self.what.owner} --superuser {ADMIN}"
            )
        lines = [json.loads(line) for line in said.splitlines() if line.startswith("{")] if ok else []
        if not lines:
            raise Unanswered(said)
        return lines[0], {line["database"]: line for line in lines[1:]}

    def make(self, changes: list[SqlChange]) -> None:
        """Run the statements; raises Failed."""
        ok, said = self.kubectl.execute(self.env["namespace"], POD, *PSQL, text=script(changes)) if changes else (True, "")
        if not ok:
            raise Failed(f"{self.env['namespace']}: Postgres refused one of: {'; '.join(change.said for change in changes)}: {said}")

    def _wanted(self, roles: Container[str]) -> Wanted:
        """A new role has the password that the application is given: the one of its Secret, where that is not changed in this run."""
        client = self.what.client
        given = self.application.given("DB_PASSWORD") if self.passwords is Passwords.OTHERS and client not in roles else None
        return self.what if given is None else replace(self.what, passwords={**self.what.passwords, client: given})

    def _left_alone(self, roles: Mapping[str, Mapping[str, Any]]) -> frozenset[str]:
        left = left_alone(self.what, self.passwords)
        if self.what.client in left and outdated(self.what, roles, self.what.client) and self.application.deployment() is None:
            return left - {self.what.client}
        return left

    def _change_over(self, rollout: float) -> bool:
        """Let the application use a stand-in, if it has to; raises Failed."""
        user, password = self.what.client, self.what.passwords[self.what.client]
        try:
            if not stand_in.needed(self.application, password):
                return False
            stand_in.change_over(self.application, lambda value: self.make([login(user, value)]), rollout)
        except Unanswered as error:
            raise Failed(f"{self.env['name']}: {self.application.name} could not change over to a stand-in for {user}; run again: {error}") from None
        except stand_in.NotFollowed as error:
            raise Failed(
                f"{self.env['name']}: {self.application.name} does not run as another database user than {user}: {error}. No password was changed. "
                f"Let it connect as DB_USER with DB_PASSWORD, or set platform_environments.{self.env['name']}.api.strategy to recreate for this run"
            ) from None
        return True
