"""Ansible's own loader finds the collection, as in a run: so its filters and lookups can be used by name."""

from pathlib import Path

from ansible.plugins.loader import init_plugin_loader

init_plugin_loader([str(Path(__file__).parents[2] / ".ansible/collections")])
