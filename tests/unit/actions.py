"""Action plugins as Ansible makes them, for tests that run no playbook."""

from __future__ import annotations

from typing import Any

from ansible.parsing.dataloader import DataLoader
from ansible.playbook.play_context import PlayContext
from ansible.playbook.task import Task
from ansible.plugins.action import ActionBase
from ansible.plugins.loader import become_loader, connection_loader
from ansible.template import Templar


def action(kind: type[ActionBase], connection: str, become: str = "", become_user: str = "root", **options: Any) -> Any:
    """An action plugin over a connection that is not made, with options of the connection's plugin."""
    context, loader = PlayContext(), DataLoader()
    plugin = connection_loader.get(connection, context)
    plugin.set_options(direct=options)
    if become:
        method = become_loader.get(f"ansible.builtin.{become}")
        method.set_options(direct={"become_user": become_user})
        plugin.set_become_plugin(method)
    task = Task.load({"name": "a task", "action": {"module": "ansible.builtin.ping"}})
    return kind(task=task, connection=plugin, play_context=context, loader=loader, templar=Templar(loader=loader), shared_loader_obj=None)
