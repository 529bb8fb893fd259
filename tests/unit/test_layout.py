"""The plugins' folders: each holds one concern, and imports run one way."""

import ast
from pathlib import Path

import pytest

PLUGINS = Path(__file__).resolve().parents[2] / "plugins"
PACKAGE = "ansible_collections.shaka.platform.plugins"
# What each folder may import besides itself and the files that lie beside the folders. The server's side knows nothing of the controller's.
MAY_IMPORT = {
    "module_utils/engine": set(),
    "module_utils/server": set(),
    "module_utils/verify": {"module_utils/backup"},
    "module_utils/backup": set(),
    "module_utils/data": {"module_utils/engine"},
    "module_utils/restore": {"module_utils/backup", "module_utils/data", "module_utils/engine"},
    "module_utils/release": {"module_utils/engine"},
    "module_utils/move": {"module_utils/backup", "module_utils/data", "module_utils/restore"},
    "plugin_utils/everyday": set(),
    "plugin_utils/report": {"module_utils/engine"},
    "plugin_utils/artifacts": {"module_utils/server", "plugin_utils/report"},
    "plugin_utils/model": {"module_utils/engine"},
    "plugin_utils/plan": {"module_utils/engine", "plugin_utils/report"},
}  # fmt: skip


def imported(path: Path) -> set[str]:
    """The dotted modules that a file imports of the collection's helpers."""
    found = set()
    package = [PACKAGE, *path.relative_to(PLUGINS).parts[:-1]]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            base = ".".join([*package[: len(package) - node.level + 1], node.module or ""]).rstrip(".") if node.level else node.module or ""
            found |= {base, *(f"{base}.{alias.name}" for alias in node.names)}
    return {name.removeprefix(f"{PACKAGE}.") for name in found if name.startswith(f"{PACKAGE}.")}


def folder_of(module: str) -> str | None:
    """The folder of concern that a dotted module lies in, or None for a file beside the folders."""
    return next((folder for folder in MAY_IMPORT if f"{module}.".startswith(f"{folder.replace('/', '.')}.")), None)


@pytest.mark.parametrize("folder", MAY_IMPORT)
def test_no_folder_imports_back(folder: str) -> None:
    files = sorted((PLUGINS / folder).glob("*.py"))
    assert files
    for path in files:
        others = {other for module in imported(path) if (other := folder_of(module)) not in (None, folder)}
        assert others <= MAY_IMPORT[folder], path


@pytest.mark.parametrize("kind", ["module_utils", "plugin_utils"])
def test_what_lies_beside_the_folders_imports_none_of_them(kind: str) -> None:
    for path in sorted((PLUGINS / kind).glob("*.py")):
        assert not {folder_of(module) for module in imported(path)} - {None}, path


@pytest.mark.parametrize("kind", ["module_utils", "plugin_utils"])
def test_every_folder_has_its_rule(kind: str) -> None:
    folders = {f"{kind}/{path.name}" for path in (PLUGINS / kind).iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert folders == {folder for folder in MAY_IMPORT if folder.startswith(f"{kind}/")}


def test_no_two_classes_have_one_name() -> None:
    """Names that Ansible prescribes aside, a class's name says which it is without its file."""
    given = {"ActionModule", "CallbackModule", "FilterModule", "LookupModule", "ModuleDocFragment"}
    places: dict[str, list[str]] = {}
    for path in PLUGINS.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef) and node.name not in given:
                places.setdefault(node.name, []).append(str(path.relative_to(PLUGINS)))
    assert {name: files for name, files in places.items() if len(files) > 1} == {}


def test_every_plugin_file_has_the_same_header() -> None:
    header = [
        "# Copyright: (c) 2026, The shaka.platform founders",
        "# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)",
    ]
    for path in PLUGINS.rglob("*.py"):
        lines = path.read_text(encoding="utf-8").splitlines()
        assert lines[lines[0].startswith("#!") :][:2] == header, path
