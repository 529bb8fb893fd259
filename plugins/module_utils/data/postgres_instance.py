# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Asks and changes one environment's Postgres, inside its pod as the superuser `postgres`."""

from __future__ import annotations

import json
import re
from collections.abc import Container, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import replace
from typing import Any, NamedTuple

from ansible_collections.shaka.platform.plugins.module_utils.conventions import pod_template
from ansible_collections.shaka.platform.plugins.module_utils.model_types import Environment

from ..kubectl import Kubectl, Unanswered, until_answered
from . import previews as databases_of_previews
from . import stand_in, wal_archive
from .changeover import Applications
from .postgres import (
    LOGIN,
    POOLER,
    STATISTICS,
    DesiredPostgres,
    Passwords,
    SqlChange,
    create_extension,
    former_roles,
    left_alone,
    login,
    no_login,
    no_more_login,
    outdated,
    question,
    rename,
    role_changes,
    script,
)
from .previews import NO_PREVIEWS, HostedPreview, HostedPreviews, NotThePreviews
from .sql import ADMIN
from .volumes import refusals, volumes

POD = "postgres-0"
# Postgres's own judgement: it reads its settings as at a start, shows one of them, and ends
START = ["sh", "-c", 'said=$(postgres -C data_directory "$@" 2>&1) || printf "%s\\n" "$said"', "sh"]
PSQL = ["psql", "--no-psqlrc", "--username", ADMIN, "--dbname", ADMIN]


class Failed(Exception):
    """Only a person can solve this; the text is for them."""


class PostgresState(NamedTuple):
    """What was changed in one Postgres (in check mode: would be), and what remains to be done."""

    made: Sequence[str] = ()
    left: Sequence[str] = ()  # roles whose password differs from the inventory's, and which this call does not change
    stand_in: bool = False
    waiting: Sequence[str] = ()  # logins that change or end once no pod of the application uses them
    pending: str = ""  # why it does not answer


def desired_postgres(env: Environment, secrets: Mapping[str, str]) -> DesiredPostgres:
    """The desired content of an environment's Postgres, from the inventory."""
    spec = env["postgres"]
    passwords = {spec["app_user"] or spec["user"]: secrets["DB_PASSWORD"]}
    if spec["app_user"]:
        passwords[spec["user"]] = secrets["DB_OWNER_PASSWORD"]
    if spec["pgbouncer"]["enabled"]:
        passwords[POOLER] = secrets["PGBOUNCER_PASSWORD"]
    if env["backup"]["point_in_time"]["enabled"]:
        passwords[wal_archive.ROLE] = secrets["WAL_PASSWORD"]
    if not all(password.isascii() for password in passwords.values()):
        raise Failed(f"a database password of {env['name']} has characters outside ASCII, which clients encode differently: use others")
    databases, renamed = (spec["database"], *spec["databases"]), spec["renamed_from"]
    return DesiredPostgres(
        spec["user"], passwords, databases, tuple(spec["extensions"]), spec["app_user"], POOLER in passwords, wal_archive.ROLE in passwords,
        renamed["database"], renamed["user"],
    )  # fmt: skip


def refuse_volumes(kubectl: Kubectl, environments: Mapping[str, Environment], image: str, pool: Executor) -> None:
    """Raises Failed with every change that a volume cannot follow."""
    claims, persistent = (pool.submit(kubectl.get, f"/api/v1/{kind}") for kind in ("persistentvolumeclaims", "persistentvolumes"))
    by_namespace = volumes(*((answer.result()[0] or {}).get("items", []) for answer in (claims, persistent)))
    refused = [text for name, env in environments.items() for text in refusals(name, env, by_namespace.get(env["namespace"]), image)]
    if refused:
        raise Failed("\n".join(refused))


def refuse_settings(kubectl: Kubectl, environments: Mapping[str, Environment], pool: Executor) -> None:
    """Raises Failed with the new settings that a running Postgres would not start with, while it still runs."""
    asked = {name: pool.submit(_settings_flaw, kubectl, env) for name, env in environments.items()}
    flaws = {name: flaw for name, answer in asked.items() if (flaw := answer.result())}
    if flaws:
        path = "platform_environments.{}.postgres.settings: Postgres would not start with it: {}; correct it"
        raise Failed("\n".join(path.format(name, flaw) for name, flaw in flaws.items()))


def _settings_flaw(kubectl: Kubectl, env: Environment) -> str:
    """What its Postgres says of settings that it has not been started with; '' for nothing, and where it does not answer."""
    found, _problem = kubectl.get(f"/apis/apps/v1/namespaces/{env['namespace']}/statefulsets/postgres")
    if found is None:
        return ""
    options = [word for name, value in sorted(env["postgres"]["settings"].items()) for word in ("-c", f"{name}={value}")]
    if pod_template(found)["spec"]["containers"][0].get("args") == [word.replace("$", "$$") for word in options]:
        return ""
    _ok, output = kubectl.execute(env["namespace"], POD, *START, *options)
    return ". ".join(re.findall(r"(?:FATAL|HINT): +(.+?)\.?$", output, re.MULTILINE))


def _as_renamed(desired: DesiredPostgres, cluster: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """What `look` would answer after the rename, as far as it is known: nothing of the content changes."""
    names = {name: owner for name, owner in cluster["databases"].items() if name != desired.renamed_database}
    names[desired.databases[0]] = cluster["databases"][desired.renamed_database]
    inside = {name: {"extensions": [STATISTICS, *desired.extensions], "missing": False} for name in (ADMIN, *desired.databases)}
    return {**cluster, "databases": names}, inside


def _hosted_previews(of: str, given: Mapping[str, Any], passwords: Mapping[str, Mapping[str, str]]) -> HostedPreviews:
    """The previews whose databases are in an environment's Postgres.

    :arg given: `wanted` (name -> preview), `ended` (names) and `complete`, whether any other preview is over.
    """
    wanted = [(name, env["postgres"], env["preview"]) for name, env in (given.get("wanted") or {}).items() if env["preview"]["of"] == of]
    hosted = (
        HostedPreview(name, spec["database"], passwords[name]["DB_PASSWORD"], preview["connections"], tuple(spec["extensions"]))
        for name, spec, preview in wanted
    )
    return HostedPreviews(tuple(hosted), frozenset(given.get("ended") or ()), bool(given.get("complete")))


class PostgresInstance:
    """One environment's Postgres.

    :arg passwords: whose changed passwords are put in force. Where no application runs, nobody holds its old one, so its password is always changed.
        Otherwise its role keeps its password, and a new role gets that of the Secret that the application reads.
    :arg check: change nothing.
    :arg finish: the application has changed over in this run, so that what waited for that is done.
    :arg previews: whose databases are in it, besides the environment's.
    """

    def __init__(
        self,
        kubectl: Kubectl,
        env: Environment,
        desired: DesiredPostgres,
        passwords: Passwords,
        check: bool,
        finish: bool = False,
        previews: HostedPreviews = NO_PREVIEWS,
    ) -> None:
        self.kubectl, self.env, self.desired, self.passwords, self.check, self.finish = kubectl, env, desired, passwords, check, finish
        self.previews = previews
        self.applications = Applications(kubectl, env, "postgres")

    def in_time(self, deadline: float, rollout: float) -> PostgresState:
        """Calls `ensure` again until Postgres answers or the deadline (of time.monotonic) has passed; raises Failed."""
        deadline = 0 if self.check else deadline
        try:
            return until_answered(lambda: self.ensure(deadline, rollout), deadline)
        except Unanswered as error:
            return PostgresState(pending=str(error) or "no answer")

    def ensure(self, deadline: float, rollout: float) -> PostgresState:
        """Bring it to the desired state.

        :arg deadline: how long to wait for pods that still use a stand-in to end.
        :arg rollout: seconds that the application may take to change over to a stand-in.
        :raises Unanswered, Failed:
        """
        cluster, databases = self.look()
        renaming = rename(self.desired, cluster)
        if renaming and self.check:
            cluster, databases = _as_renamed(self.desired, cluster)
        elif renaming:
            self.make(renaming)
            cluster, databases = self.look()
        former, owner = former_roles(self.desired, cluster["roles"]), self._pods_may_be(cluster["roles"])
        waiting = [] if self.check or not (former or owner) or self._settled(deadline) else [*former, *owner]
        left = self._left_alone(cluster["roles"])
        left = left | owner if waiting else left - owner if self.finish else left
        changes = [*role_changes(self._desired(cluster["roles"]), cluster, databases, left), *self.of_previews(cluster, databases)]
        changes += [change for name in former if name not in waiting for change in no_more_login(name, self.desired, cluster)]
        has_stand_in = LOGIN in cluster["roles"]
        if not self.check:
            if self.desired.client not in left and outdated(self.desired, cluster["roles"], self.desired.client):
                has_stand_in = self._change_over(rollout) or has_stand_in
            self.make(changes)
        if has_stand_in and self.passwords is Passwords.APPLICATION and stand_in.unused(self.applications, deadline):
            has_stand_in, removal = False, no_login(self.desired.client, [name for name in self.desired.databases if name in cluster["databases"]])
            changes.append(removal[-1])
            if not self.check:
                stand_in.remove(self.applications)
                self.make(removal)
        made = [f"{self.env['name']}: {summary}" for summary in dict.fromkeys(change.summary for change in [*renaming, *changes])]
        behind = sorted(name for name in left - {*waiting} if outdated(self.desired, cluster["roles"], name))
        return PostgresState(made, behind, has_stand_in, waiting)

    def of_previews(self, cluster: Mapping[str, Any], databases: Mapping[str, Mapping[str, Any]]) -> list[SqlChange]:
        """The changes in what previews have here; raises Failed."""
        coming = [name for name in self.desired.databases if name not in cluster["databases"]]
        try:
            changes = [SqlChange(ADMIN, summary, text) for summary, text in databases_of_previews.changes(self.previews, cluster, coming)]
        except NotThePreviews as error:
            raise Failed(f"{self.env['namespace']}: {error}") from None
        for preview in self.previews.wanted:
            for extension in preview.extensions:
                if extension not in (databases.get(preview.database, {}).get("extensions") or []):
                    create = create_extension(extension, preview.database, preview.database)
                    changes.append(SqlChange(preview.database, f"extension {extension} in {preview.database}", [create]))
        return changes

    def look(self) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
        """The content of the server, and of each database; raises Unanswered or Failed."""
        others = [preview.database for preview in self.previews.wanted if preview.extensions]
        ok, output = self.kubectl.execute(self.env["namespace"], POD, *PSQL, text=question(self.desired, others))
        if not ok and f'role "{ADMIN}" does not exist' in output:
            raise Failed(
                f"{self.env['namespace']}: the Postgres was set up with another superuser than '{ADMIN}'. Make that role once, and run again:\n"
                f"    kubectl exec -n {self.env['namespace']} {POD} -- createuser -U {self.desired.owner} --superuser {ADMIN}"
            )
        lines = [json.loads(line) for line in output.splitlines() if line.startswith("{")] if ok else []
        if not lines:
            raise Unanswered(output)
        return lines[0], {line["database"]: line for line in lines[1:]}

    def make(self, changes: list[SqlChange]) -> None:
        """Run the statements; raises Failed."""
        ok, output = self.kubectl.execute(self.env["namespace"], POD, *PSQL, text=script(changes)) if changes else (True, "")
        if not ok:
            raise Failed(f"{self.env['namespace']}: Postgres refused one of: {'; '.join(change.summary for change in changes)}: {output}")

    def _pods_may_be(self, roles: Mapping[str, Mapping[str, Any]]) -> frozenset[str]:
        """The owner, whose password changes, while pods of before there was an app_user may log in as it."""
        owner = self.desired.owner
        return frozenset({owner}) if self.desired.app_user and outdated(self.desired, roles, owner) else frozenset()

    def _settled(self, deadline: float) -> bool:
        """Whether every pod of the applications logs in as the inventory says."""
        return self.applications.held_by_all("DB_PASSWORD", self.desired.passwords[self.desired.client], deadline)

    def _desired(self, roles: Container[str]) -> DesiredPostgres:
        """A new role gets the password that the applications read from their Secret, where this run does not change that."""
        client = self.desired.client
        current = self.applications.given("DB_PASSWORD") if self.passwords is Passwords.OTHERS and client not in roles else None
        return self.desired if current is None else replace(self.desired, passwords={**self.desired.passwords, client: current})

    def _left_alone(self, roles: Mapping[str, Mapping[str, Any]]) -> frozenset[str]:
        left = left_alone(self.desired, self.passwords)
        if self.desired.client in left and outdated(self.desired, roles, self.desired.client) and not self.applications.there():
            return left - {self.desired.client}
        return left

    def _change_over(self, rollout: float) -> bool:
        """Move the applications to a stand-in, those that need one; raises Failed."""
        user, password = self.desired.client, self.desired.passwords[self.desired.client]
        moved = False
        for application in self.applications.members:
            who = f"{self.env['name']}: {application.name}"
            try:
                if stand_in.needed(application, password):
                    stand_in.change_over(application, lambda value: self.make([login(user, value)]), rollout)
                    moved = True
            except Unanswered as error:
                raise Failed(f"{who} could not change over to a stand-in for {user}; run again: {error}") from None
            except stand_in.NotFollowed as error:
                raise Failed(
                    f"{who} does not run as another database user than {user}: {error}. No password was changed. "
                    f"Let it connect as DB_USER with DB_PASSWORD, or set {application.path}.strategy to recreate for this run"
                ) from None
        return moved


class PostgresOfPreviews(PostgresInstance):
    """A Postgres whose environment is not part of the run: nothing in it changes but what previews have there."""

    def __init__(self, kubectl: Kubectl, env: Environment, previews: HostedPreviews, check: bool) -> None:
        spec = env["postgres"]
        desired = DesiredPostgres(spec["user"], {}, ())
        super().__init__(kubectl, env, desired, Passwords.OTHERS, check, previews=previews)

    def ensure(self, deadline: float, rollout: float) -> PostgresState:
        """See PostgresInstance."""
        cluster, databases = self.look()
        changes = self.of_previews(cluster, databases)
        if not self.check:
            self.make(changes)
        return PostgresState([f"{self.env['name']}: {change.summary}" for change in changes])


def instances_of(kubectl: Kubectl, given: Mapping[str, Any], passwords: Passwords, check: bool, finish: bool = False) -> dict[str, PostgresInstance]:
    """Each Postgres that a module is about, by its environment; those of other environments for what previews have there. Raises Failed.

    :arg given: the module's `environments`, `passwords` and `previews`.
    """
    known, previews = given["passwords"], given.get("previews") or {}
    own: dict[str, PostgresInstance] = {
        name: PostgresInstance(kubectl, env, desired_postgres(env, known[name]), passwords, check, finish, _hosted_previews(name, previews, known))
        for name, env in given["environments"].items()
    }
    hosts = previews.get("hosts") or {}
    return own | {name: PostgresOfPreviews(kubectl, env, _hosted_previews(name, previews, known), check) for name, env in hosts.items()}
