"""The collection as a user has it: built, and installed into a home directory of its own, with nothing of the checkout in the environment."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]


class Home:
    """A user's home directory, whose commands are those of one virtual environment."""

    def __init__(self, path: Path, programs: Path) -> None:
        self.path = path
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("ANSIBLE_", "PYTHON", "SHAKA_"))}
        self.environment = kept | {"HOME": str(path), "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}"}

    def run(self, *command: str, cwd: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a command; standard error is part of its output."""
        return subprocess.run(
            command, cwd=cwd or self.path, env=self.environment | environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, check=False,
        )  # fmt: skip

    def play(self, name: str, *arguments: str, cwd: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a playbook of the installed collection."""
        return self.run("ansible-playbook", f"shaka.platform.{name}", *arguments, cwd=cwd, **environment)

    def build(self, out: Path) -> Path:
        """The tarball of what is committed, staged or new in the checkout, and not ignored."""
        listed = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True
        )
        with tempfile.TemporaryDirectory() as tree:
            for name in filter(None, listed.stdout.split("\0")):
                if (ROOT / name).is_file() and not name.startswith(".ansible/"):
                    (Path(tree) / name).parent.mkdir(parents=True, exist_ok=True)
                    shutil.copy2(ROOT / name, Path(tree) / name)
            done = self.run("ansible-galaxy", "collection", "build", "--force", "--output-path", str(out), tree)
        if done.returncode != 0:
            raise AssertionError(done.stdout)
        (built,) = out.glob("*.tar.gz")
        return built

    def install(self, tarball: Path) -> subprocess.CompletedProcess[str]:
        """As a user does it, but that kubernetes.core lies beside Ansible in the environment already."""
        return self.run("ansible-galaxy", "collection", "install", "--offline", "--no-deps", str(tarball))
