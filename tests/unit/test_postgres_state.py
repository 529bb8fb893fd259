"""What a Postgres is asked, and what is made of its answer."""

from __future__ import annotations

import base64
import os
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast

import pytest
from ansible_collections.shaka.platform.plugins.module_utils.data.postgres import (
    DesiredPostgres,
    Passwords,
    former_roles,
    no_more_login,
    question,
    rename,
    role_changes,
    script,
)
from ansible_collections.shaka.platform.plugins.module_utils.data.postgres_instance import Failed, PostgresInstance, refuse_settings
from ansible_collections.shaka.platform.plugins.module_utils.data.scram import matches, verifier
from ansible_collections.shaka.platform.plugins.module_utils.data.volumes import image_major, refusals, volumes
from ansible_collections.shaka.platform.plugins.module_utils.kubectl import Kubectl, Unanswered

WANTED = DesiredPostgres("own", {"own": "secret-one"}, ("shop", "more"), ("pgcrypto",))
PLAIN = {"password": None, "expires": None, "plain": True, "login": True, "ours": True, "owns": False}
CLUSTER: dict[str, Any] = {
    "roles": {"postgres": {**PLAIN, "plain": False, "ours": None}, "own": {**PLAIN, "password": verifier("secret-one")}},
    "databases": {"postgres": "postgres", "shop": "own", "more": "own"},
}
INSIDE: dict[str, Any] = {
    "postgres": {"extensions": ["plpgsql", "pg_stat_statements"]},
    "shop": {"extensions": ["pgcrypto"], "missing": False},
    "more": {"extensions": ["pgcrypto"], "missing": False},
}


def test_the_example_of_rfc_7677() -> None:
    """Section 3: user 'user', password 'pencil', with this salt; the stored and the server key follow from them."""
    stored = verifier("pencil", base64.b64decode("W22ZaJ0SNY7soEsUEjb6gQ=="), 4096)
    assert stored.endswith("$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=")


def test_a_password_is_recognised() -> None:
    assert matches(verifier("pencil"), "pencil") and not matches(verifier("pencil"), "pencils")
    assert verifier("pencil") != verifier("pencil"), "the salt is random"
    assert not matches(None, "pencil") and not matches("md5abc", "pencil")


def test_nothing_to_do() -> None:
    assert role_changes(WANTED, CLUSTER, INSIDE) == []


def with_role(name: str, **change: Any) -> dict[str, Any]:
    return {**CLUSTER, "roles": {**CLUSTER["roles"], name: {**CLUSTER["roles"].get(name, PLAIN), **change}}}


TABLE = [
    # the cluster, its databases -> what is said
    (with_role("postgres", password="SCRAM..."), INSIDE, ["no password of postgres: it connects inside the pod only"]),
    (with_role("own", ours=None), INSIDE, ["role own is the platform's"]),
    (with_role("own", plain=False), INSIDE, ["role own is not a superuser and can log in"]),
    (with_role("own", password=verifier("other")), INSIDE, ["password of own"]),
    (with_role("own", expires="2026-01-01T00:00:00+00:00"), INSIDE, ["password of own does not expire"]),
    ({**CLUSTER, "databases": {"postgres": "postgres", "shop": "postgres"}}, INSIDE, ["owner of database shop", "database more"]),
    (CLUSTER, {**INSIDE, "shop": {"extensions": [], "missing": False}}, ["extension pgcrypto in shop"]),
    (CLUSTER, {**INSIDE, "postgres": {"extensions": None}}, ["extension pg_stat_statements in postgres"]),
]  # fmt: skip


@pytest.mark.parametrize(("cluster", "inside", "said"), TABLE, ids=[row[2][0] for row in TABLE])
def test_each_difference_is_named(cluster: dict[str, Any], inside: dict[str, Any], said: list[str]) -> None:
    assert [change.summary for change in role_changes(WANTED, cluster, inside)] == said


def test_an_empty_server_gets_everything_in_order_and_without_a_plain_password() -> None:
    wanted = DesiredPostgres("own", {"app": "app-secret", "own": "own-secret"}, ("shop",), ("pgcrypto",), "app")
    changes = role_changes(wanted, {"roles": {"postgres": PLAIN}, "databases": {"postgres": "postgres"}}, {"postgres": {"extensions": []}})
    assert [change.summary for change in changes] == [
        "role app", "role own", "database shop", "extension pg_stat_statements in postgres", "extension pgcrypto in shop",
        "privileges of app in shop",
    ]  # fmt: skip
    text = script(changes)
    assert "app-secret" not in text and "own-secret" not in text
    assert text.index('create database "shop"') < text.index('\\connect "shop"') < text.index("pgcrypto")


def test_a_pool_gets_its_role_before_the_look_up_that_it_may_use() -> None:
    wanted = DesiredPostgres("own", {"own": "secret-one", "pgbouncer": "pool-secret"}, ("shop", "more"), ("pgcrypto",), pooled=True)
    assert [change.summary for change in role_changes(wanted, CLUSTER, INSIDE)] == ["role pgbouncer", "the look-up of verifiers by pgbouncer"]
    there = {**with_role("pgbouncer", password=verifier("pool-secret")), "lookup": True}
    assert role_changes(wanted, there, INSIDE) == []
    assert [change.summary for change in role_changes(wanted, {**there, "lookup": False}, INSIDE)] == ["the look-up of verifiers by pgbouncer"]


def test_names_cannot_leave_their_quotes() -> None:
    wanted = DesiredPostgres('o"wn', {'o"wn': "secret"}, ("sh'op",))
    text = question(wanted) + script(role_changes(wanted, {"roles": {}, "databases": {}}, {}))
    assert '"o""wn"' in text and "'sh''op'" in text


@pytest.mark.parametrize(
    ("reference", "major"),
    [
        ("docker.io/library/postgres:15-alpine", "15"), ("lab.local/postgres:15", "15"), ("registry:5000/postgres:16.4@sha256:0a", "16"),
        ("registry:5000/postgres", ""), ("postgres@sha256:15", ""), ("postgres:latest", ""), ("postgres:v17", "17"),
    ],
)  # fmt: skip
def test_the_major_version_that_an_image_names(reference: str, major: str) -> None:
    assert image_major(reference) == major


@pytest.mark.parametrize(
    ("storage", "data", "image", "says"),
    [("5Gi", "15", "postgres:15", ""), ("6Gi", "15", "postgres:15", ""), ("4096Mi", "15", "postgres:15", "does not shrink"),
     ("5Gi", "14", "postgres:15", "data of Postgres 14"), ("5Gi", "", "postgres:15", ""), ("5Gi", "14", "postgres@sha256:0a", "")],
)  # fmt: skip
def test_a_volume_refuses_what_it_cannot_follow(tmp_path: Path, storage: str, data: str, image: str, says: str) -> None:
    if data:
        (tmp_path / "pgdata").mkdir()
        (tmp_path / "pgdata/PG_VERSION").write_text(f"{data}\n")
    claim = {
        "metadata": {"name": "postgres-pvc", "namespace": "shaka-prod"},
        "spec": {"volumeName": "pv1", "resources": {"requests": {"storage": "5Gi"}}},
    }
    found = volumes([claim], [{"metadata": {"name": "pv1"}, "spec": {"local": {"path": str(tmp_path)}}}])
    said = refusals("prod", cast(Any, {"namespace": "shaka-prod", "postgres": {"storage": storage}}), found["shaka-prod"], image)
    assert bool(said) == bool(says)
    assert all(says in text and "shaka.platform.restore" in text and "platform_only=prod" in text for text in said)


ARCHIVED = DesiredPostgres("own", {"own": "secret-one", "wal_archive": "wal-secret"}, ("shop", "more"), ("pgcrypto",), archived=True)
OPEN = {"access": True, "statistics": True, "login": True, "slots": 2}
STREAMING = {**with_role("wal_archive", password=verifier("wal-secret")), "archive": OPEN}


@pytest.mark.parametrize(
    ("desired", "cluster", "said"),
    [
        (
            ARCHIVED,
            CLUSTER,
            ["role wal_archive", "access of wal_archive to the stream of WAL", "sight of wal_archive of how far its stream has come"],
        ),
        (ARCHIVED, STREAMING, []),
        (ARCHIVED, {**STREAMING, "archive": {**OPEN, "access": False}}, ["access of wal_archive to the stream of WAL"]),
        (
            ARCHIVED,
            {**with_role("wal_archive", plain=False, password=verifier("wal-secret")), "archive": OPEN},
            ["role wal_archive is not a superuser and can log in"],
        ),
        (WANTED, STREAMING, ["no archive of WAL: wal_archive cannot log in, and its slots are dropped"]),
        (WANTED, {**STREAMING, "archive": {**OPEN, "login": False}}, ["no archive of WAL: wal_archive cannot log in, and its slots are dropped"]),
        (WANTED, {**STREAMING, "archive": {**OPEN, "login": False, "slots": 0}}, []),
    ],
)
def test_the_archive_of_wal_is_let_in_and_out(desired: DesiredPostgres, cluster: dict[str, Any], said: list[str]) -> None:
    changes = role_changes(desired, cluster, INSIDE)
    assert [change.summary for change in changes] == said
    text = script(changes)
    assert "wal-secret" not in text and "superuser" not in text.replace("nosuperuser", "")


# --- other names ----------------------------------------------------------------------------------------------------------------------------

RENAMED = DesiredPostgres("new", {"new": "secret-one"}, ("store", "more"), (), renamed_database="shop", renamed_owner="own")


def test_a_database_with_its_earlier_name_is_renamed_once() -> None:
    (change,) = rename(RENAMED, CLUSTER)
    assert change.summary == "database shop is called store" and 'alter database "shop" rename to "store"' in change.statements
    assert rename(RENAMED, {**CLUSTER, "databases": {"store": "own"}}) == [] and rename(WANTED, CLUSTER) == []
    assert rename(RENAMED, {**CLUSTER, "databases": {"store": "own", "shop": "own"}}) == [], "both are there: neither is touched"


def test_a_new_owner_gets_everything_while_the_earlier_one_may_go_on() -> None:
    there = {**with_role("own", owns=True), "databases": {"postgres": "postgres", "store": "own", "more": "own"}}
    changes = role_changes(RENAMED, there, {name: {"extensions": ["pg_stat_statements"], "missing": False} for name in ("postgres", "store", "more")})
    assert [change.summary for change in changes] == ["role new", *["new owns what own had"] * 3]
    text = script(changes)
    assert text.index('create role "new"') < text.index('grant "new" to "own"') < text.index('reassign owned by "own" to "new"')
    assert text.count('reassign owned by "own" to "new"') == 2 and "nologin" not in text, "in each database, and its pods still log in"
    assert former_roles(RENAMED, there["roles"]) == ["own"]
    gone = script(no_more_login("own", RENAMED, there))
    assert 'alter role "own" nologin' in gone and 'revoke "new" from "own"' in gone and gone.count("reassign owned") == 2


@pytest.mark.parametrize(("change", "former"), [({}, ["app"]), ({"login": False}, []), ({"ours": None}, [])])
def test_a_role_that_the_platform_made_and_the_inventory_lost_is_a_former_one(change: dict[str, Any], former: list[str]) -> None:
    assert former_roles(WANTED, with_role("app", **change)["roles"]) == former


class Silent(Kubectl):
    """A Postgres whose psql ends with these words."""

    def __init__(self, said: str) -> None:
        super().__init__(["kubectl"], 1)
        self.said = said

    def execute(self, namespace: str, pod: str, *command: str, text: str | None = None) -> tuple[bool, str]:
        """As Kubectl has it."""
        return False, self.said


ENV: Any = {
    "name": "prod",
    "namespace": "shaka-prod",
    "apps": {},
    "reads": {},
    "postgres": {
        "user": "own", "app_user": "", "database": "shop", "databases": [], "extensions": [], "pgbouncer": {"enabled": False},
        "renamed_from": {"database": "", "user": ""}, "settings": {"work_mem": "4MB"},
    },
    "backup": {"point_in_time": {"enabled": False}},
}  # fmt: skip


def test_a_postgres_of_another_superuser_says_how_to_make_the_platforms() -> None:
    """The words are those of psql 15."""
    said = 'psql: error: connection to server on socket "/var/run/postgresql/.s.PGSQL.5432" failed: FATAL:  role "postgres" does not exist'
    instance = PostgresInstance(Silent(said), ENV, WANTED, Passwords.OTHERS, False)
    with pytest.raises(Failed, match="createuser -U own --superuser postgres"):
        instance.look()
    with pytest.raises(Unanswered):
        PostgresInstance(Silent("the database system is starting up"), ENV, WANTED, Passwords.OTHERS, False).look()


class Running(Kubectl):
    """A Postgres that was started with these options. Its program says what Postgres 15 says of another one."""

    def __init__(self, folder: Path, *options: str) -> None:
        super().__init__(["kubectl"], 1)
        self.folder, self.options, self.asked = folder, list(options), 0
        program = folder / "postgres"
        program.write_text(
            "#!/bin/sh\n"
            'case "$*" in\n'
            "*work_men*) echo '2026-11-28 03:24:47 GMT [9] FATAL:  unrecognized configuration parameter \"work_men\"' >&2; exit 1 ;;\n"
            '*16Mi*) echo \'9 GMT [9] FATAL:  invalid value for parameter "work_mem": "16Mi"\' >&2\n'
            'echo \'9 GMT [9] HINT:  Valid units for this parameter are "kB" and "MB".\' >&2; exit 1 ;;\n'
            "*) echo /var/lib/postgresql/data/pgdata ;;\n"
            "esac\n"
        )
        program.chmod(0o755)

    def get(self, path: str) -> tuple[Any, str]:
        """As Kubectl has it."""
        assert path == "/apis/apps/v1/namespaces/shaka-prod/statefulsets/postgres"
        return {"spec": {"template": {"spec": {"containers": [{"name": "postgres", "args": self.options}]}}}}, ""

    def execute(self, namespace: str, pod: str, *command: str, text: str | None = None) -> tuple[bool, str]:
        """As Kubectl has it."""
        self.asked += 1
        path = {**os.environ, "PATH": f"{self.folder}:{os.environ['PATH']}"}
        done = subprocess.run(command, env=path, capture_output=True, text=True, check=False)
        return done.returncode == 0, done.stdout


def with_settings(settings: dict[str, str]) -> Any:
    return {**ENV, "postgres": {**ENV["postgres"], "settings": settings}}


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"work_men": "16MB"}, 'unrecognized configuration parameter "work_men"; correct it'),
        ({"work_mem": "16Mi"}, '"16Mi". Valid units for this parameter are "kB" and "MB"; correct it'),
        ({"work_mem": "16MB"}, ""),
    ],
)
def test_settings_that_postgres_would_not_start_with_are_refused_while_it_runs(tmp_path: Path, settings: dict[str, str], says: str) -> None:
    server, env = Running(tmp_path, "-c", "work_mem=4MB"), with_settings(settings)
    with ThreadPoolExecutor(1) as pool:
        if says:
            with pytest.raises(Failed) as refused:
                refuse_settings(server, {"prod": env}, pool)
            assert str(refused.value).startswith("platform_environments.prod.postgres.settings: ") and str(refused.value).endswith(says)
        else:
            refuse_settings(server, {"prod": env}, pool)
    assert server.asked == 1


def test_a_postgres_that_was_started_with_the_same_settings_is_not_asked(tmp_path: Path) -> None:
    server = Running(tmp_path, "-c", "log_line_prefix=$$x", "-c", "work_mem=4MB")
    with ThreadPoolExecutor(1) as pool:
        refuse_settings(server, {"prod": with_settings({"work_mem": "4MB", "log_line_prefix": "$x"})}, pool)
    assert server.asked == 0
