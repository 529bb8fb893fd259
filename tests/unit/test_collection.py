"""What the collection's own files declare, as plugins read it."""

from __future__ import annotations

from pathlib import Path

from ansible.parsing.dataloader import DataLoader
from ansible_collections.shaka.platform.plugins.plugin_utils import collection

PLUGINS = Path(__file__).parents[2] / "plugins"


def test_the_sites_roles_come_in_its_order() -> None:
    names = collection.site_roles()
    assert names.index("tenancy") < names.index("postgres") < names.index("apps") < names.index("verify")
    assert len(names) == len(set(names))


def test_variables_are_read_from_a_file_or_from_a_folder(tmp_path: Path) -> None:
    """Both as Ansible reads them, for instance of the roles host and k3s."""
    (tmp_path / "defaults").mkdir()
    (tmp_path / "defaults/main.yml").write_text("demo_size: 5Gi\n")
    (tmp_path / "vars/main").mkdir(parents=True)
    (tmp_path / "vars/main/b.yml").write_text("__demo_two: 2\n")
    (tmp_path / "vars/main/a.yml").write_text("---\n# nothing yet\n")
    assert collection.role_variables(DataLoader(), tmp_path, "defaults") == {"demo_size": "5Gi"}
    assert collection.role_variables(DataLoader(), tmp_path, "vars") == {"__demo_two": 2}
    assert "__k3s_config" in collection.role_variables(DataLoader(), collection.ROLES / "k3s", "vars")


def test_roles_and_playbooks_are_opened_in_one_place() -> None:
    """Another plugin that looks for its own place in the collection, or asks a task for its role, does so unseen."""
    controller = [path for folder in ("action", "callback", "filter", "lookup", "plugin_utils") for path in (PLUGINS / folder).rglob("*.py")]
    looks = [path for path in controller if any(word in path.read_text() for word in ("__file__", "_role_path", "._role"))]
    assert looks == [PLUGINS / "plugin_utils/collection.py"]
