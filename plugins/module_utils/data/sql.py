# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Names and texts as SQL has them. Pure."""

from __future__ import annotations

ADMIN = "postgres"  # the superuser, and the database that it is in
ATTRIBUTES = "login nosuperuser nocreatedb nocreaterole noreplication nobypassrls"  # of a role that the platform makes


def identifier(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """A string constant; with standard_conforming_strings only quotes are special."""
    return "'" + text.replace("'", "''") + "'"


def as_owner_if_trusted(extension: str, owner: str, statement: str) -> str:
    """The statement, run as the owner where any owner may have the extension, else as the superuser."""
    return (
        f"do $do$ begin if exists(select from pg_available_extension_versions where name = {literal(extension)} and trusted) then "
        f"execute {literal('set local role ' + identifier(owner))}; end if; execute {literal(statement)}; end $do$"
    )
