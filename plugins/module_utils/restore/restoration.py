# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One restore, step by step: fetched and opened in a pod, restored into new databases, checked. The live databases are not touched here.

Every step looks at what is there and goes on from it; `advance` is called again and again until it is done.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from ansible_collections.shaka.platform.plugins.module_utils.conventions import PAUSE
from ansible_collections.shaka.platform.plugins.module_utils.data.postgres import grants
from ansible_collections.shaka.platform.plugins.module_utils.kubectl import Kubectl, Unanswered, until_answered
from ansible_collections.shaka.platform.plugins.module_utils.restore import contents, cpu_limit, databases, names, pod, problems, statements
from ansible_collections.shaka.platform.plugins.module_utils.restore.judgement import RestoreVerdict, judge
from ansible_collections.shaka.platform.plugins.module_utils.restore.plan import PlannedDatabase, RestorePlan
from ansible_collections.shaka.platform.plugins.module_utils.restore.pod import PodFailed, PodReport, RestorePod
from ansible_collections.shaka.platform.plugins.module_utils.restore.recovery import TEMPLATE
from ansible_collections.shaka.platform.plugins.module_utils.restore.room import GROWTH, PODS, DiskNeed, amount, cpu_room, data_folder, lacking
from ansible_collections.shaka.platform.plugins.module_utils.restore.superuser import RefusedStatement, Superuser

Result = TypeVar("Result")
DUMP, MASKED_DUMP = "dump", "masked-dump"  # phases: of what is live, and of the masked copy
START_SECONDS = 120  # for the pod: an image that is still being imported, a place on the node


class RestoreFailed(Exception):
    """The restore cannot go on; the text says what failed, why, and what to do. The live databases are as they were."""


@dataclass
class Progress:
    """How far a restore is. `line`: for a person; `notes`: what is not as it was in the backup."""

    done: bool = False
    line: str = ""
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class FetchSecrets:
    """What the pod needs to read a backup. `rclone`: its configuration; `authorities`: that the certificate of S3 may be of; `identity`: age's."""

    rclone: str
    authorities: str
    identity: str
    backup_key: str


class Restoration:
    """A restore that goes on.

    :arg jobs: connections that pg_restore uses at a time.
    :arg spare_cpu: see `room.CpuRoom`.
    """

    def __init__(self, kubectl: Kubectl, plan: RestorePlan, jobs: int, spare_cpu: int | None = 0) -> None:
        self.kubectl, self.plan, self.jobs, self.spare_cpu = kubectl, plan, jobs, spare_cpu
        self.superuser = Superuser(kubectl, plan.namespace)
        self.pod = RestorePod(kubectl, plan.namespace, plan.job, plan.pod)

    # --- the beginning ---

    def require_room(self) -> None:
        """Raises RestoreFailed when a disk could fill up."""
        size = sum(database.database_bytes for database in self.plan.databases)
        needs = [
            DiskNeed(PODS, self.plan.pod_bytes),
            DiskNeed(
                data_folder(self.kubectl, self.plan.namespace, "redis-pvc" if self.plan.pod == pod.REDIS else "postgres-pvc"), int(size * GROWTH)
            ),
        ]
        if problem := lacking(needs):
            raise RestoreFailed(f"{'; '.join(problem)}: make room (old databases: -e restore_drop_before=STAMP), or give the server a larger disk")

    def begin(self, mask: str, deadline_seconds: int) -> None:
        """Make the pod. Raises RestoreFailed, PodFailed, Unanswered.

        :arg mask: SQL for the application's database.
        """
        plan = self.plan
        about = {"purpose": plan.purpose, "backup": plan.backup, "source": plan.source, "databases": [database.live for database in plan.databases]}
        cpu = cpu_room(self.kubectl, plan.namespace, self.spare_cpu).for_pod()
        self.pod.create(about, plan.pod_bytes, cpu, deadline_seconds, TEMPLATE if plan.moment else "")
        self.pod.await_running(time.monotonic() + START_SECONDS)
        # a container that runs may not be reachable for a moment
        until_answered(self._answering, time.monotonic() + 15)
        files = {
            "objects": _lines(f"{database.bytes} {database.sha256} {database.object}" for database in plan.databases),
            "databases": _lines(f"{index} {database.scratch}" for index, database in enumerate(plan.databases)),
        }
        self.pod.put(files | {f"{index}.mask": mask for index, database in enumerate(plan.databases) if mask and database.masked})

    def fetch(self, secrets: FetchSecrets) -> None:
        """Let the pod fetch the backup. Raises PodFailed, Unanswered."""
        self.pod.put({"authorities": secrets.authorities})
        self.pod.call("fetch", text=f"{secrets.rclone}.\n{secrets.identity.rstrip()}\n")

    def recover(self, secrets: FetchSecrets, instructions: str) -> None:
        """Let the pod recover a moment. Raises PodFailed, Unanswered."""
        self.pod.put({"authorities": secrets.authorities, "points": instructions})
        self.pod.call("recover", text=f"{secrets.rclone}.\n{secrets.identity.rstrip()}\n.\n{secrets.backup_key}\n")

    def dump(self) -> None:
        """Let the pod dump what is live, for a copy. Raises PodFailed, Unanswered."""
        self.pod.call("dump", DUMP, self.plan.databases[0].live)

    def open(self) -> None:
        """Let the pod look into a dump that came from the controller. Raises PodFailed, Unanswered."""
        self.pod.call("open")

    def _answering(self) -> None:
        try:
            self.pod.state()
        except PodFailed as error:
            raise Unanswered(str(error)) from None

    # --- on and on ---

    def advance(self, watched: float = 0) -> Progress:
        """Go on with whatever is due; raises RestoreFailed, PodFailed, Unanswered.

        :arg watched: seconds to wait for the present phase to end. To ask again costs more.
        """
        until = time.monotonic() + watched
        while (report := self.pod.state()).ended is None and time.monotonic() < until:
            time.sleep(PAUSE)
        if report.ended not in (None, 0):
            raise RestoreFailed(problems.explain(self.plan, report))
        if report.ended is None:
            return Progress(line=self.line(report))
        if report.phase in ("fetch", "recover", "open") or (report.phase == DUMP and self.plan.databases[0].masked):
            reached = self._reached() if self.plan.moment else ""
            notes = self._make()
            if self.plan.purpose == names.RESTORE:  # a drill has time
                with contextlib.suppress(Unanswered):  # it works without, only slower
                    cpu_limit.raise_limit(self.kubectl, self.plan.namespace, self.spare_cpu)
            self.pod.call("restore", str(self.jobs))
            return Progress(line=f"{reached}the new databases are made", notes=notes)
        if report.phase == "restore":
            notes = self._finish()
            self.pod.call("settle", str(self.jobs))
            return Progress(line="everything is restored", notes=notes)
        if report.phase == "settle" and self.plan.purpose == names.EXPORT:
            self.pod.call("dump", MASKED_DUMP, self.plan.databases[0].scratch)
            return Progress(line="the copy is masked")
        if report.phase in ("settle", DUMP, MASKED_DUMP):
            return Progress(done=True, line="dumped" if report.phase != "settle" else "restored, with statistics")
        raise RestoreFailed(f"the pod of {self.plan.job} is in no phase of a restore ({report.phase}): run the restore again")

    def _reached(self) -> str:
        """Where the recovery stopped, as Postgres says it."""
        (log,) = self.pod.get("recover.out")
        return "".join(f"{line}; " for line in log.splitlines() if line.startswith(("recovery stopping", "last completed transaction")))

    def line(self, report: PodReport) -> str:
        """How far the present phase is, for a person."""
        database = self.plan.databases[report.index]
        text = f"{report.doing or 'beginning with'} {database.live}"
        if report.doing == "recovering":
            return f"recovering {self.plan.moment}"
        if report.doing == "fetching":
            return f"{text}: {amount(report.fetched)} of {amount(database.bytes)}"
        if report.doing == "dumping":
            return f"{text}: {amount(report.dumped)}"
        if report.doing == "restoring":
            return f"{text}: {self._size(database)} of about {amount(database.database_bytes)}, {report.tables} of {len(database.tables)} tables"
        return text

    def _size(self, database: PlannedDatabase) -> str:
        try:
            sizes = self.superuser.ask(databases.SERVER)["databases"]
        except (Unanswered, RefusedStatement):
            return "?"
        return amount(sizes[database.scratch]["bytes"]) if database.scratch in sizes else "?"

    # --- by the superuser ---

    def _make(self) -> list[str]:
        """The new databases, their extensions, and what each leaves to its owner. Returns what is left out."""
        self._make_roles()
        server = self.superuser.ask(databases.SERVER)
        notes: list[str] = []
        for index, database in enumerate(self.plan.databases):
            live = server["databases"].get(database.live)
            row = live["row"] if live else None
            self._run(f"the new database {database.scratch}", databases.drop([database.scratch]))
            self._run(f"the new database {database.scratch}", [databases.create_like(database.scratch, self.plan.owner, row)])
            notes += self._prepare(index, database, server)
        return notes

    def _make_roles(self) -> None:
        """Roles that the site does not make, and that objects of the backup belong to or are granted to. A drill changes no role."""
        if self.plan.elsewhere or self.plan.purpose != names.RESTORE:
            return
        try:
            made = statements.role_statements(self.plan.roles)
        except statements.UnreadableStatement as error:
            raise RestoreFailed(f"the manifest of {self.plan.backup}: {error}") from None
        self._run("the roles", [item.text for item in made if not item.roles])
        known = self.superuser.ask(databases.SERVER)["roles"]
        self._run("the settings of roles", [item.text for item in made if item.roles and all(role in known for role in item.roles)])

    def _prepare(self, index: int, database: PlannedDatabase, server: Mapping[str, Any]) -> list[str]:
        superusers = [role for role, is_superuser in server["roles"].items() if is_superuser]
        listing, extensions, privileges = self.pod.get(f"{index}.toc", f"{index}.extensions", f"{index}.privileges")
        listed = self._read(database, contents.entries, listing)
        others = [role for role in _roles_of_others(server) if role not in (self.plan.owner, contents.database_owner(listed))]
        wanted = self._read(database, statements.extensions, extensions)
        schemas = [name for name in dict.fromkeys(extension.schema for extension in wanted) if name not in ("public", "pg_catalog")]
        share = contents.sort(listed, superusers, others, schemas, self.plan.elsewhere)
        self.pod.put({f"{index}.list": _lines(share.restored), f"{index}.others": _lines([] if self.plan.elsewhere else share.of_others)})
        self._make_extensions(database, wanted, schemas, server)
        early, _late, _missing = self._privileges(database, server, listing, privileges)
        absent = [f" ON {title.removeprefix('PROCEDURAL ').rpartition(' ')[0]} " for title in share.left_out]  # a title ends with the owner
        self._run(f"privileges in {database.scratch}", [text for text in early if not any(each in text for each in absent)], database.scratch)
        self._settings(database, server, privileges, early=True)
        return [f"{database.live}: left out, as the owner cannot make it here: {title}" for title in share.left_out]

    def _make_extensions(
        self, database: PlannedDatabase, wanted: list[statements.DumpExtension], schemas: list[str], server: Mapping[str, Any]
    ) -> None:
        """Of the live database's version if the image has it; a dump does not say of which it was."""
        live: Mapping[str, str] = {}
        if server["databases"].get(database.live, {}).get("open"):
            live = self.superuser.ask(databases.CONTENT, database.live)["extensions"]
        if absent := [extension.name for extension in wanted if extension.name not in server["available"]]:
            text = f"{database.name} needs the extension {', '.join(absent)}, which the Postgres image does not have"
            raise RestoreFailed(f"{text}: take an image with it (platform_image_overrides.postgres)")
        made = [databases.create_schema(name, self.plan.owner) for name in schemas]
        for extension in wanted:
            version = live.get(extension.name, "")
            known = version in server["available"][extension.name]
            made.append(databases.create_extension(extension.name, extension.schema, version if known else "", self.plan.owner))
        self._run(f"the extensions of {database.scratch}", made, database.scratch)

    def _privileges(self, database: PlannedDatabase, server: Mapping[str, Any], listing: str, script: str) -> tuple[list[str], list[str], list[str]]:
        """Those that are needed while objects are made, those that come afterwards, and the roles that are missing for others."""
        dumped_owner = contents.database_owner(self._read(database, contents.entries, listing))
        given = self._read(database, statements.privileges, script)
        given = statements.renamed(given, {dumped_owner: self.plan.owner, **self.plan.renamed_roles})
        kept, missing = statements.allowed(given, server["roles"])
        return [item.text for item in kept if item.early], [item.text for item in kept if not item.early], missing

    def _finish(self) -> list[str]:
        """Owners, privileges and properties. Returns what could not be as it was."""
        server = self.superuser.ask(databases.SERVER)
        notes: list[str] = []
        for index, database in enumerate(self.plan.databases):
            listing, others, script = self.pod.get(f"{index}.toc", f"{index}.others", f"{index}.privileges")
            if others:
                handed = self._read(database, lambda text: statements.owners(text, _roles_of_others(server)), self.pod.call("owned", str(index)))
                self._run(f"the owners of objects in {database.scratch}", handed, database.scratch)
            _early, late, missing = self._privileges(database, server, listing, script)
            self._run(f"privileges in {database.scratch}", late, database.scratch)
            notes += [f"{database.live}: there is no role {role}, so its privileges are left out" for role in missing]
            notes += self._let_in(database, script)
            notes += self._settings(database, server, script)
        return notes

    def _let_in(self, database: PlannedDatabase, script: str) -> list[str]:
        """An app_user that the backup does not know gets its privileges as from the role postgres, which the next run of the site would bring."""
        client = self.plan.client
        if client == self.plan.owner or client in self._named(database, script):
            return []
        self._run(f"privileges of {client} in {database.scratch}", [*grants(client, self.plan.owner, database.scratch)], database.scratch)
        return [f"{database.live}: the backup does not know {client}, which has got the privileges of an app_user"]

    def _named(self, database: PlannedDatabase, script: str) -> set[str]:
        """The roles that a backup gives something to, as they are called here."""
        given = statements.renamed(self._read(database, statements.privileges, script), self.plan.renamed_roles)
        return {role for item in given for role in item.roles}

    def _settings(self, database: PlannedDatabase, server: Mapping[str, Any], script: str, *, early: bool = False) -> list[str]:
        """The database's own properties; another environment has its own. The early ones are set again in the end."""
        if self.plan.elsewhere:
            return []
        given = self._read(database, lambda text: statements.database_settings(text, database.scratch), script)
        given = [setting for setting in given if setting.early or not early]
        known = [setting for setting in given if all(role in server["roles"] for role in setting.roles)]
        self._run(f"the settings of {database.scratch}", [setting.text for setting in known])
        missing = sorted({role for setting in given for role in setting.roles if role not in server["roles"]})
        return [f"{database.live}: there is no role {role}, so its settings are left out" for role in missing]

    def _read(self, database: PlannedDatabase, reader: Callable[[str], Result], text: str) -> Result:
        try:
            return reader(text)
        except (statements.UnreadableStatement, contents.UnreadableContents) as error:
            raise RestoreFailed(f"the dump of {database.name} has what a restore does not pass on to the superuser: {error}") from None

    def _run(self, what: str, made: list[str], database: str = "postgres") -> None:
        if not made:
            return
        try:
            self.superuser.run(made, database)
        except RefusedStatement as error:
            raise RestoreFailed(f"Postgres of {self.plan.environment} refused {what}: {error}") from None

    # --- the check ---

    def check(self) -> dict[str, RestoreVerdict]:
        """Database -> whether it may take its place. Raises PodFailed, Unanswered."""
        verdicts = {}
        for index, database in enumerate(self.plan.databases):
            found = self.superuser.ask(databases.result(self.plan.client), database.scratch)
            extensions, script = self.pod.get(f"{index}.extensions", f"{index}.privileges")
            wanted = [extension.name for extension in statements.extensions(extensions)]
            verdict = judge(database, found, self.plan.owner, wanted, masked=self.plan.elsewhere)
            verdicts[database.live] = self._with_login(database, verdict, found["readable"], script)
        return verdicts

    def _with_login(self, database: PlannedDatabase, verdict: RestoreVerdict, readable: str | None, script: str) -> RestoreVerdict:
        """Whether the application logs in over the network and reads a table, if it may read one in the backup."""
        client = self.plan.client
        try:
            self.pod.call("login", database.scratch, text=f"{readable or 'select 1'};\n")
        except PodFailed as error:
            return verdict._replace(wrong=(*verdict.wrong, f"the application's login {client} does not work: {error}"))
        if readable is None and verdict.tables:
            text = f"{client} may read none of its tables"
            if client in self._named(database, script):
                return verdict._replace(wrong=(*verdict.wrong, text))
            return verdict._replace(notes=(*verdict.notes, f"{text}, as in the backup"))
        return verdict


def _roles_of_others(server: Mapping[str, Any]) -> list[str]:
    """Roles that objects may be handed to: no superusers, and none of Postgres's own."""
    return [role for role, is_superuser in server["roles"].items() if not is_superuser and not role.startswith("pg_")]


def _lines(lines: Iterable[str]) -> str:
    return "".join(f"{line}\n" for line in lines)
