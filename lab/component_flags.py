"""Writes the flags that Kubernetes' components know, as their --help lists them, for the role k3s: `python3 -m lab.component_flags`.

The lab's `k3s` holds the components of the version that the lock ships. It is built first where the cache does not have it.
"""

from __future__ import annotations

import re
import subprocess
import textwrap
from pathlib import Path

from lab import bundle, paths
from lab.progress import Progress

TARGET = paths.ROOT / "roles/k3s/vars/main/component_flags.yml"
COMPONENTS = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy")
NOT_SET = {"help", "version"}  # they end a component
HEADER = """\
---
# Written by `python3 -m lab.component_flags`; do not edit. The flags that the components of Kubernetes {version} know, as their --help lists them. A
# component does not start with any other. Not here: kube-cloud-controller-manager-arg and etcd-arg, which are not checked.
__k3s_component_flags:
"""


def listed(output: str) -> list[str]:
    """The flags in the output of --help: `--name` or `-n, --name` at a line's beginning."""
    return sorted(set(re.findall(r"^ +(?:-\w, )?--([a-z][a-z0-9-]*)", output, re.MULTILINE)) - NOT_SET)


def known_to(k3s: Path) -> dict[str, list[str]]:
    """Each component's flags, from the program that holds all of them."""
    asked = {name: subprocess.run([str(k3s), name, "--help"], capture_output=True, text=True, check=True).stdout for name in COMPONENTS}
    return {name: listed(output) for name, output in asked.items()}


def page(flags: dict[str, list[str]], version: str) -> str:
    """The role's file."""
    parts = [HEADER.format(version=version)]
    for name, names in flags.items():
        lines = textwrap.wrap(", ".join(names) + ",", width=150, initial_indent="    ", subsequent_indent="    ", break_on_hyphens=False)
        parts.append(f"  {name}-arg: [\n" + "".join(f"{line}\n" for line in lines) + "  ]\n")
    return "".join(parts)


def main() -> None:
    with Progress() as progress:
        built = bundle.build(progress)
    TARGET.write_text(page(known_to(built / "bin/k3s"), bundle.K3S_VERSION.partition("+")[0]), encoding="utf-8")


if __name__ == "__main__":
    main()
