"""What of a dump the superuser runs: a few shapes of statements, taken apart and put together again; anything else is left out or refused."""

from __future__ import annotations

import pytest
from ansible_collections.shaka.platform.plugins.module_utils.restore import statements as given
from ansible_collections.shaka.platform.plugins.module_utils.restore.statements import DumpExtension, UnreadableStatement

# As pg_restore 15.20 writes it
HEAD = r"""--
-- PostgreSQL database dump
--

\restrict HGaZTW98HhtkOd4Z8KNx9NmYQo4CB8jpYu5IxLbhNfOEWtPSYcsmCsD3KaEsVPi

SET statement_timeout = 0;
SELECT pg_catalog.set_config('search_path', '', false);

"""


def texts(found: list[given.Privilege] | list[given.DatabaseSetting]) -> list[str]:
    return [item.text for item in found]


def test_extensions_in_their_order() -> None:
    script = HEAD + (
        "CREATE EXTENSION IF NOT EXISTS cube WITH SCHEMA public;\n\n\n-- Name: EXTENSION\n"
        'CREATE EXTENSION IF NOT EXISTS "uuid-ossp" WITH SCHEMA "My Schema";\n'
    )
    assert given.extensions(script) == [DumpExtension("cube", "public"), DumpExtension("uuid-ossp", "My Schema")]


@pytest.mark.parametrize(
    "script",
    [
        "CREATE EXTENSION IF NOT EXISTS x WITH SCHEMA public VERSION '1' ;",
        "CREATE EXTENSION x;",
        "CREATE EXTENSION IF NOT EXISTS x WITH SCHEMA a CASCADE;",
    ],
)
def test_an_extension_in_another_shape_is_refused(script: str) -> None:
    with pytest.raises(UnreadableStatement):
        given.extensions(script)


@pytest.mark.parametrize(
    ("statement", "roles", "early"),
    [
        ("GRANT USAGE ON SCHEMA billing TO reporter", ("reporter",), False),
        ("GRANT ALL ON FOREIGN DATA WRAPPER postgres_fdw TO shaka", ("shaka",), True),
        ("GRANT USAGE ON LANGUAGE plv8 TO shaka", ("shaka",), True),
        ("GRANT SELECT ( id ) , UPDATE ( id ) ON TABLE public . t TO a WITH GRANT OPTION", ("a",), False),
        ("REVOKE ALL ON FUNCTION public . f ( timestamp with time zone , integer ) FROM PUBLIC", (), False),
        ("GRANT SELECT ON LARGE OBJECT 777 TO reporter", ("reporter",), False),
        ('GRANT SELECT ON TABLE public . "on" TO "Strange, Role" , b', ("Strange, Role", "b"), False),
        ("ALTER DEFAULT PRIVILEGES FOR ROLE shaka IN SCHEMA billing GRANT SELECT ON TABLES TO reporter", ("shaka", "reporter"), False),
        ("ALTER DEFAULT PRIVILEGES FOR ROLE shaka REVOKE ALL ON FUNCTIONS FROM PUBLIC", ("shaka",), False),
    ],
)
def test_privileges(statement: str, roles: tuple[str, ...], early: bool) -> None:
    (found,) = given.privileges(f"{HEAD}{statement};\n")
    assert (found.text, found.roles, found.early) == (statement, roles, early)


@pytest.mark.parametrize(
    "statement",
    [
        "GRANT pg_read_server_files TO shaka",  # a role
        "GRANT CONNECT ON DATABASE shaka TO reporter",  # of the database as a whole
        "ALTER ROLE shaka SUPERUSER",
        "CREATE FUNCTION f() RETURNS void LANGUAGE sql AS 'select 1'",
        "CREATE FUNCTION f() RETURNS void LANGUAGE sql AS $x$ ; GRANT pg_monitor TO shaka; $x$",
        "SELECT 'GRANT x ON TABLE y TO z'",
        "/* GRANT x ON TABLE y TO z */",
    ],
)
def test_what_is_no_privilege_on_an_object_is_left_out(statement: str) -> None:
    assert given.privileges(f"{statement};") == []


@pytest.mark.parametrize("text", ["GRANT SELECT ON TABLE t TO 'x'; ", "GRANT SELECT ON TABLE t", "GRANT SELECT ON TABLE t TO \\! id", "'open"])
def test_what_cannot_be_read_is_refused(text: str) -> None:
    with pytest.raises(UnreadableStatement):
        given.privileges(text)


def test_privileges_for_roles_that_are_missing_are_left_out_and_named() -> None:
    found = given.privileges("GRANT SELECT ON TABLE a TO x; GRANT SELECT ON TABLE b TO gone; GRANT SELECT ON TABLE c TO PUBLIC;")
    kept, missing = given.allowed(found, {"x"})
    assert (texts(kept), missing) == (["GRANT SELECT ON TABLE a TO x", "GRANT SELECT ON TABLE c TO PUBLIC"], ["gone"])


def test_privileges_for_another_environment_name_its_roles() -> None:
    script = (
        "GRANT SELECT ON TABLE prod.prod TO app; GRANT SELECT ON TABLE t TO prod WITH GRANT OPTION; "
        "ALTER DEFAULT PRIVILEGES FOR ROLE prod IN SCHEMA app GRANT SELECT ON TABLES TO app, other;"
    )
    found = given.renamed(given.privileges(script), {"prod": "staging", "app": "it"})
    assert texts(found) == [
        'GRANT SELECT ON TABLE prod . prod TO "it"',
        'GRANT SELECT ON TABLE t TO "staging" WITH GRANT OPTION',
        'ALTER DEFAULT PRIVILEGES FOR ROLE "staging" IN SCHEMA app GRANT SELECT ON TABLES TO "it" , other',
    ]
    assert [item.roles for item in found] == [("it",), ("staging",), ("staging", "it", "other")]


def test_what_a_dump_says_of_its_database_holds_for_the_new_one() -> None:
    script = HEAD + (
        "CREATE DATABASE old WITH TEMPLATE = template0 ENCODING = 'UTF8';\nALTER DATABASE old OWNER TO x;\n\\connect old\n"
        "ALTER DATABASE old SET search_path TO '$user', 'public';\nALTER DATABASE old CONNECTION LIMIT = 5;\n"
        "ALTER ROLE reporter IN DATABASE old SET statement_timeout TO '30s';\nCOMMENT ON DATABASE old IS 'the ''real'' one; \\d';\n"
        "REVOKE CONNECT,TEMPORARY ON DATABASE old FROM PUBLIC;\nGRANT CONNECT ON DATABASE old TO reporter;\n"
        "ALTER DATABASE old SET TABLESPACE elsewhere;\n"
    )
    found = given.database_settings(script, 'new "one"')
    assert texts(found) == [
        'ALTER DATABASE "new ""one""" SET search_path TO \'$user\' , \'public\'',
        'ALTER DATABASE "new ""one""" CONNECTION LIMIT = 5',
        'ALTER ROLE reporter IN DATABASE "new ""one""" SET statement_timeout TO \'30s\'',
        "COMMENT ON DATABASE \"new \"\"one\"\"\" IS 'the ''real'' one; \\d'",
        'REVOKE CONNECT , TEMPORARY ON DATABASE "new ""one""" FROM PUBLIC',
        'GRANT CONNECT ON DATABASE "new ""one""" TO reporter',
    ]
    assert [item.roles for item in found] == [(), (), ("reporter",), (), (), ("reporter",)]


MADE = "do $do$ begin if to_regrole('reporter') is null then create role reporter login inherit; end if; end $do$"


def test_roles_of_a_manifest() -> None:
    lines = [MADE, "grant pg_monitor to reporter", "alter role app set work_mem to '8MB'", "alter role app in database d set a to 'b'"]
    found = given.role_statements([*lines, "alter database d set work_mem to '1MB'"])
    assert [(item.text, item.roles) for item in found] == [
        (MADE, ()), ("grant pg_monitor to reporter", ("pg_monitor", "reporter")), ("alter role app set work_mem to '8MB'", ("app",))
    ]  # fmt: skip


@pytest.mark.parametrize(
    "line",
    ["alter role app superuser", "create role x superuser", MADE.replace("login", "superuser"), MADE.replace("inherit;", "inherit; drop table t;")],
)
def test_what_else_a_manifest_has_is_refused(line: str) -> None:
    with pytest.raises(UnreadableStatement, match="neither a role nor the setting of one"):
        given.role_statements([line])


def test_owners_are_handed_over_by_whole_statements_only() -> None:
    script = (
        "CREATE FUNCTION g() RETURNS text LANGUAGE plpgsql AS $f$ begin return 'x; alter function f() owner to reporter;'; end $f$;\n"
        "ALTER FUNCTION billing.g() OWNER TO reporter;\nALTER TABLE billing.notes OWNER TO postgres;\nALTER TABLE a OWNER TO reporter, b;"
    )
    assert given.owners(script, {"reporter"}) == ["ALTER FUNCTION billing . g ( ) OWNER TO reporter"]
