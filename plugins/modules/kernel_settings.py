#!/usr/bin/python
# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: kernel_settings
short_description: Set modules, sysctls and swap of the running kernel
version_added: "0.1.0"
author: The shaka.platform founders (@shaka-platform)
description:
  - Loads missing modules and sets differing values in the running kernel. M(shaka.platform.config_files) writes the files that do the same at boot.
  - A module that is built in, or that a container's host has loaded, needs no modprobe.
  - Hardening that a kernel does not offer, or that a container may not change, is left out and listed in RV(skipped_settings); anything else that
    is missing is an error.
attributes:
  check_mode: {support: full, description: Compares only.}
  diff_mode: {support: full, description: Values before and after.}
options:
  modules:
    description: Kernel modules that must be loaded.
    type: list
    elements: str
    default: []
  sysctls: {description: "Name to value; each is required.", type: dict, default: {}}
  hardening:
    description: Name to value, left out where the kernel does not have it.
    type: dict
    default: {}
  swap_off:
    description:
      - Switches swap off, whether it comes from fstab, zram or a systemd unit. In a container nothing is done, as the swap belongs to its host.
      - Refused while more is swapped out than there is memory available.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Ensure the running kernel has what the kubelet expects
  shaka.platform.kernel_settings:
    modules: [br_netfilter]
    sysctls: {vm.overcommit_memory: "1"}
    hardening: {kernel.yama.ptrace_scope: "1"}
    swap_off: true
"""

RETURN = r"""
differing:
  description: What was loaded or set, as C(name=value).
  returned: success
  type: list
  elements: str
skipped_settings:
  description: What was left out, each with its reason.
  returned: success
  type: list
  elements: str
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.shaka.platform.plugins.module_utils.conventions import commands_of
from ansible_collections.shaka.platform.plugins.module_utils.server.swap import SwapError, is_container, steps_to_no_swap

# Module -> file that exists when the kernel has its feature, whether it was loaded, is built in, or was loaded by a container's host.
SHOWN_AT = {
    "br_netfilter": "proc/sys/net/bridge/bridge-nf-call-iptables",
    "nf_conntrack": "proc/sys/net/netfilter/nf_conntrack_max",
}


class KernelError(Exception):
    """The kernel lacks a setting or does not accept its value; the text names it."""


def is_there(module: str, root: Path) -> bool:
    """Whether the kernel already has a module's feature."""
    if (root / "sys/module" / module).is_dir() or (module in SHOWN_AT and (root / SHOWN_AT[module]).exists()):
        return True
    return module in (root / "proc/filesystems").read_text(encoding="ascii").split()


def sysctl_path(name: str, root: Path) -> Path:
    """The file of a setting: 'vm.panic_on_oom' -> /proc/sys/vm/panic_on_oom."""
    return root / "proc/sys" / name.replace(".", "/")


def read_sysctl(name: str, root: Path) -> str | None:
    """The running value, with single spaces; None when the kernel has no such setting."""
    try:
        return " ".join(sysctl_path(name, root).read_text(encoding="ascii").split())
    except FileNotFoundError:
        return None


def write_sysctl(name: str, value: str, root: Path) -> None:
    """Set a running value; KernelError when the kernel refuses."""
    try:
        sysctl_path(name, root).write_text(value, encoding="ascii")
    except OSError as error:
        raise KernelError(f"sysctl {name}: cannot be set to {value}: {error.strerror}") from error


class Settings:
    """Compares the kernel with the desired settings, changes it, and records what differed."""

    def __init__(self, check_mode: bool, execute: Callable[[list[str]], tuple[int, str, str]], root: Path) -> None:
        self.check_mode, self.execute, self.root = check_mode, execute, root
        self.before: list[str] = []
        self.after: list[str] = []
        self.left_out: list[str] = []

    def module(self, name: str) -> None:
        if is_there(name, self.root):
            return
        if not self.check_mode:
            code, out, err = self.execute(["modprobe", name])
            if code != 0:
                raise KernelError(f"kernel module {name}: neither loaded, built in nor loadable: {(err or out).strip()}")
        self._differs(f"{name}: not loaded", f"{name}: loaded")

    def sysctl(self, name: str, desired: Any, *, needed: bool) -> None:
        value, running = " ".join(str(desired).split()), read_sysctl(name, self.root)
        if running == value:
            return
        try:
            # in check mode the module that brings the setting is not loaded yet
            if running is None and not (needed and self.check_mode):
                raise KernelError(f"sysctl {name}: this kernel has no such setting")
            if not self.check_mode:
                write_sysctl(name, value, self.root)
        except KernelError as error:
            if needed:
                raise
            self.left_out.append(str(error))
            return
        self._differs(f"{name}={running or 'absent'}", f"{name}={value}")

    def swap_off(self) -> None:
        if is_container(self.root):
            self.left_out.append("swap: this is a container, whose swap belongs to its host")
            return
        for step in steps_to_no_swap(self.root, self.execute):
            if not self.check_mode:
                step.do()
            self._differs(step.before, step.after)

    def _differs(self, before: str, after: str) -> None:
        self.before.append(before)
        self.after.append(after)


def run(params: dict[str, Any], check_mode: bool, execute: Callable[[list[str]], tuple[int, str, str]], root: Path = Path("/")) -> dict[str, Any]:
    """The result of the module."""
    settings = Settings(check_mode, execute, root)
    for name in params["modules"]:
        settings.module(name)
    for name, value in params["sysctls"].items():
        settings.sysctl(name, value, needed=True)
    for name, value in params["hardening"].items():
        settings.sysctl(name, value, needed=False)
    if params["swap_off"]:
        settings.swap_off()
    diff = {"before": "".join(f"{line}\n" for line in settings.before), "after": "".join(f"{line}\n" for line in settings.after)}
    return {"changed": bool(settings.after), "differing": settings.after, "skipped_settings": settings.left_out, "diff": diff}


def main() -> None:
    spec = {
        "modules": {"type": "list", "elements": "str", "default": []},
        "sysctls": {"type": "dict", "default": {}},
        "hardening": {"type": "dict", "default": {}},
        "swap_off": {"type": "bool", "default": False},
    }
    module = AnsibleModule(argument_spec=spec, supports_check_mode=True)
    try:
        result = run(module.params, module.check_mode, commands_of(module))
    except (KernelError, SwapError, OSError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(**result)


if __name__ == "__main__":
    main()
