# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Confirms a change of the way in over a connection of its own; see the module of the same name for its documentation."""

from __future__ import annotations

import time
from typing import Any

from ansible.errors import AnsibleError
from ansible.plugins.action import ActionBase
from ansible_collections.shaka.platform.plugins.module_utils.conventions import PAUSE
from ansible_collections.shaka.platform.plugins.plugin_utils.second_connection import beside

# In front of the user's ssh_args, which share one connection among all tasks and may name a bastion: of an option ssh takes the first value.
NOT_SHARED = "-o ControlMaster=no -o ControlPath=none"
STARTING = 10.0  # seconds for which a server may refuse the second connection, as sshd does while it reads its files again


class ActionModule(ActionBase):  # type: ignore[misc]  # ansible-core has no type information
    """Makes the two connections; the module does everything on the server."""

    _supports_check_mode = True
    _supports_async = False
    _connection: Any

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        variables = task_vars or {}
        if self._task.args.get("sshd") and self._password():
            result["failed"] = True
            result["msg"] = (
                "this connection uses a password, but sshd shall accept only keys, so the next run could not connect. "
                "Install a key for the user, leave out ansible_password and --ask-pass, or set host_manage_sshd to false."
            )
            return result
        applied = self._phase("apply", variables)
        result.update(applied)
        if applied.get("failed") or not applied.get("unconfirmed"):
            return result
        why = self._confirmation(variables)
        result["unconfirmed"] = why is not None
        if why is not None:
            result.update(failed=True, msg=self._undone(why, variables))
        return result

    def _confirmation(self, variables: dict[str, Any]) -> str | None:
        """Confirm, as soon as the server takes connections again; why it did not, or None."""
        deadline = time.monotonic() + STARTING
        while (why := self._refusal(variables)) is not None and time.monotonic() < deadline:
            time.sleep(PAUSE)
        return why

    def _refusal(self, variables: dict[str, Any]) -> str | None:
        """Confirm over a connection of its own; why that failed, or None."""
        first = self._connection
        try:
            self._connection = self._second(first)
            confirmed = self._phase("confirm", variables)
            return str(confirmed.get("msg")) if confirmed.get("failed") or confirmed.get("unreachable") else None
        except AnsibleError as error:
            return str(error)
        finally:
            self._connection = first

    def _phase(self, phase: str, variables: dict[str, Any]) -> dict[str, Any]:
        arguments = {**self._task.args, "phase": phase}
        done: dict[str, Any] = self._execute_module(module_name="shaka.platform.remote_access", module_args=arguments, task_vars=variables)
        return done

    def _password(self) -> str | None:
        try:
            configured: str | None = self._connection.get_option("password")
        except KeyError:  # a connection that knows no passwords
            configured = None
        return configured or self._play_context.password

    @staticmethod
    def _second(first: Any) -> Any:
        """A connection with the same options, not made yet and not shared."""
        second = beside(first)
        second._connected = False
        if "ssh_args" in second._options:
            second.set_option("ssh_args", f"{NOT_SHARED} {first.get_option('ssh_args') or ''}".rstrip())
        return second

    def _undone(self, why: str, variables: dict[str, Any]) -> str:
        seconds = self._task.args.get("confirm_seconds", 120)
        try:
            undone = self._phase("undo", variables)
            back = "The previous ones are active again." if not undone.get("failed") else ""
        except AnsibleError:
            back = ""
        return (
            f"a new connection to the server did not get in with the new packet filter and sshd settings: {why.strip()} "
            + (back or f"The first connection is cut off too; the server restores the previous ones within {seconds} seconds.")
            + " Look at host_firewall_ssh_sources, host_ssh_port and host_sshd_*."
        )
