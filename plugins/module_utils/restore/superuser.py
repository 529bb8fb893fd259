# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Runs SQL as the superuser inside an environment's Postgres, for what a database's owner may not do."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from ansible_collections.shaka.platform.plugins.module_utils.data.postgres_instance import POD, PSQL
from ansible_collections.shaka.platform.plugins.module_utils.data.sql import ADMIN, identifier
from ansible_collections.shaka.platform.plugins.module_utils.kubectl import Kubectl, Unanswered

# An error is one line, without the rows that it is about. What a database's owner has set for its sessions does not hold for the superuser's: with a
# search_path of the owner's, a function of the owner's could be what a query here runs.
_BEGIN = ["\\set QUIET on", "\\set ON_ERROR_STOP on", "\\set VERBOSITY terse", "\\pset format unaligned", "\\pset tuples_only on"]
_SESSION = ["set search_path = pg_catalog", "set statement_timeout = 0", "set lock_timeout = '30s'", "set default_transaction_read_only = off"]


class RefusedStatement(Exception):
    """Postgres refused a statement; the text is its error."""


class Superuser:
    """The role `postgres` of one environment's Postgres."""

    def __init__(self, kubectl: Kubectl, namespace: str) -> None:
        self.kubectl, self.namespace = kubectl, namespace

    def ask(self, query: str, database: str = ADMIN) -> Any:
        """The one JSON value that a query answers with. Raises Unanswered, RefusedStatement."""
        output = self._psql(database, [query.strip().rstrip(";")])
        return json.loads(output) if output.strip() else None

    def run(self, statements: Iterable[str], database: str = ADMIN) -> None:
        """All statements, each by itself. Raises Unanswered, RefusedStatement."""
        self._psql(database, statements)

    def run_as_one(self, statements: Iterable[str], database: str = ADMIN) -> None:
        """All statements in one transaction, or none. Raises Unanswered, RefusedStatement."""
        self.run(["begin", *statements, "commit"], database)

    def _psql(self, database: str, statements: Iterable[str]) -> str:
        lines = [*_BEGIN, f"\\connect {identifier(database)}", *(f"{statement};" for statement in (*_SESSION, *statements))]
        ok, output = self.kubectl.execute(self.namespace, POD, *PSQL, text="\n".join(lines) + "\n")
        if ok:
            return output
        _before, error, text = output.partition("ERROR:")
        if error:
            raise RefusedStatement(text.strip())
        raise Unanswered(output)
