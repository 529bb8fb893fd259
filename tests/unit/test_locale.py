"""A server, or an ssh client, that speaks Portuguese or German: everything is parsed as on one that speaks English. With locales made for real."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

PLUGINS = Path(__file__).parents[2] / "plugins"
ROLES = Path(__file__).parents[2] / "roles"

# Runs as a module does on a server: the process takes the locale of its environment, as AnsibleModule does.
PROGRAM = r"""
import locale, sys, time
from pathlib import Path
from types import SimpleNamespace
from ansible.module_utils import basic
from ansible.module_utils.testing import patch_module_args
from ansible_collections.shaka.platform.plugins.module_utils.conventions import commands_of
from ansible_collections.shaka.platform.plugins.module_utils.kubectl import Kubectl
from ansible_collections.shaka.platform.plugins.module_utils.server.access import Sshd
from ansible_collections.shaka.platform.plugins.modules import k3s_settings

locale.setlocale(locale.LC_ALL, "")
print("month", time.strftime("%b", time.gmtime(1777593600)), "point", locale.str(1.5))
with patch_module_args({}):
    module = basic.AnsibleModule(argument_spec={})
print("as it is", module.run_command(["date", "-u", "-d@1777593600", "+%b %A"])[1].strip())
execute = commands_of(module)
print("date", execute(["date", "-u", "-d@1777593600", "+%b %A"])[1].strip())
print("number", execute(["sh", "-c", "printf %.1f 1.5"])[1])
print("message", execute(["ls", "/not/there"])[2].strip())
print("kubectl", Kubectl(["ls"], 10).run("/not/there")[1])
print("bytes", execute(["printf", "S\\303\\243o"])[1])
print("ends", sorted(k3s_settings.ends(execute, [sys.argv[1]]).values()))
settings = Path(sys.argv[2])
states = iter(["qua 2026-02-04 10:00:00.000001 UTC", "Mi 2100-12-01 10:00:00.000001 UTC"])
for state in states:
    answer = lambda command: (0, f"ActiveState=active\nStateChangeTimestamp={state}\n", "")
    print("stale", bool(Sshd(SimpleNamespace(path=settings), "root").stale(answer)))
"""


@pytest.fixture(scope="module")
def locales(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for LOCPATH with both locales."""
    if not shutil.which("localedef") or not Path("/usr/share/i18n/locales/pt_BR").exists():
        pytest.skip("this machine has no sources of locales (Debian's package locales)")
    folder = tmp_path_factory.mktemp("locales")
    for name in ("pt_BR", "de_DE"):
        done = subprocess.run(["localedef", "-i", name, "-f", "UTF-8", f"{folder}/{name}.UTF-8"], capture_output=True, text=True, check=False)
        assert (folder / f"{name}.UTF-8").is_dir(), done.stderr
    return folder


def output(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize(("name", "own"), [("pt_BR", "month mai point 1,5"), ("de_DE", "month Mai point 1,5"), ("C", "month May point 1.5")])
def test_a_server_of_any_language_is_read_as_an_english_one(locales: Path, tmp_path: Path, name: str, own: str) -> None:
    certificate = tmp_path / "leaf.crt"
    files = ["-keyout", f"{tmp_path}/key", "-out", str(certificate)]
    output("openssl", "req", "-x509", "-newkey", "ed25519", "-nodes", *files, "-subj", "/CN=x", "-days", "300")
    end = output("openssl", "x509", "-noout", "-enddate", "-in", str(certificate))
    seconds = output("date", "-d", end.partition("=")[2], "+%s").strip()
    settings = tmp_path / "shaka.conf"
    settings.write_text("")
    language = {"LC_ALL": f"{name}.UTF-8" if name != "C" else "C", "LANG": f"{name}.UTF-8", "LANGUAGE": name, "LOCPATH": str(locales)}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(certificate), str(settings)], capture_output=True, text=True, env={**os.environ, **language}, check=False
    )
    assert done.returncode == 0, done.stderr
    told = done.stdout.splitlines()
    assert told[0] == own
    assert told[1:] == [
        {"pt_BR": "as it is mai sexta", "de_DE": "as it is Mai Freitag", "C": "as it is May Friday"}[name],
        "date May Friday",
        "number 1.5",
        "message ls: cannot access '/not/there': No such file or directory",
        "kubectl ls: cannot access '/not/there': No such file or directory",
        "bytes São",
        f"ends [{seconds}]",
        "stale True",
        "stale False",
    ]


@pytest.mark.skipif(not shutil.which("dpkg"), reason="needs dpkg, with its translations")
def test_a_lock_on_dpkg_is_recognized_in_any_language(tmp_path: Path) -> None:
    """By the environment and the condition of the host role's task; C.UTF-8 would be translated to LANGUAGE."""
    tasks = (entry for block in yaml.safe_load((ROLES / "host/tasks/packages.yml").read_text()) for entry in block["block"])
    (task,) = (entry for entry in tasks if entry.get("ansible.builtin.command", {}).get("argv", [""])[0] == "dpkg")
    for name in ("status", "lock", "lock-frontend"):
        (tmp_path / name).touch()
    for folder in ("info", "updates"):
        (tmp_path / folder).mkdir()
    command = ["dpkg", f"--admindir={tmp_path}", "--configure", "--pending"]
    environment = {**os.environ, "LANG": "pt_BR.UTF-8", "LANGUAGE": "pt_BR", **task["environment"]}
    with (tmp_path / "lock").open("w") as lock, (tmp_path / "lock-frontend").open("w") as frontend:
        fcntl.lockf(lock, fcntl.LOCK_EX)
        fcntl.lockf(frontend, fcntl.LOCK_EX)
        held = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert held.returncode == 2 and held.stderr.startswith("dpkg: error: dpkg frontend lock was locked by another process")
    assert task["until"] == "'lock' not in __host_pending.stderr | default('')"


def test_each_task_that_sets_a_locale_sets_one_that_is_not_translated() -> None:
    """GNU programs follow LANGUAGE in every locale but C."""
    for path in ROLES.glob("*/tasks/*.yml"):
        for match in re.finditer(r"environment: \{[^}]*LC_ALL: *([^,} ]+)[^}]*\}", path.read_text(encoding="utf-8")):
            assert match[1] == "C" or "LANGUAGE" in match[0], f"{path}: {match[0]}"


# %a %A %b %B %c %p %x %X and %h depend on the locale, in both directions.
NAMED = re.compile(r"(?:strptime|strftime)\([^)]*%-?[aAbBcphxX]")


def test_no_time_is_read_or_written_by_names() -> None:
    files = [path for folder in (PLUGINS, ROLES) for path in folder.rglob("*") if path.suffix in (".py", ".j2", ".yml", ".sh")]
    assert [path for path in files if NAMED.search(path.read_text(encoding="utf-8"))] == []


def test_each_command_of_a_module_is_run_in_the_c_locale() -> None:
    """By commands_of; or by subprocess with LOCALE in the environment, or what is not parsed named here."""
    by_itself = {"module_utils/conventions.py", "module_utils/engine/worker.py"}  # the one place; a Python of ours, which prints JSON
    for path in (path for folder in ("modules", "module_utils") for path in (PLUGINS / folder).rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        if str(path.relative_to(PLUGINS)) not in by_itself:
            assert ".run_command(" not in text, path
            assert "subprocess.run(" not in text or "**LOCALE" in text, path
            assert "subprocess.Popen(" not in text, path
