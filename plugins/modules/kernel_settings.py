#!/usr/bin/python
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: kernel_settings
short_description: Modules and sysctls of the running kernel
version_added: 0.1.0
author: The shaka.platform founders (@shaka-platform)
description:
  - Loads what is not loaded and sets what differs, in the running kernel. The files that do so at boot are written by M(shaka.platform.config_files).
  - A module that is built in, or that a container's host has loaded, needs no modprobe.
attributes:
  check_mode: {support: full, description: Compares only.}
  diff_mode: {support: full, description: Values before and after.}
options:
  modules: {description: Kernel modules., type: list, elements: str, default: []}
  sysctls: {description: Name to value., type: dict, default: {}}
"""

EXAMPLES = r"""
- name: Ensure the running kernel has what the kubelet expects
  shaka.platform.kernel_settings:
    modules: [br_netfilter]
    sysctls: {vm.overcommit_memory: "1"}
"""

RETURN = r"""
differing:
  description: What was loaded or set, as C(name=value).
  returned: success
  type: list
  elements: str
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

# Where the kernel shows that a feature is there, whether its module was loaded, built in or belongs to a container's host.
SHOWN_AT = {"br_netfilter": "proc/sys/net/bridge/bridge-nf-call-iptables"}


class KernelError(Exception):
    """The kernel has not, or does not accept, a setting; the text names it."""


def is_there(module: str, root: Path) -> bool:
    """Whether the kernel already offers what a module brings."""
    if (root / "sys/module" / module).is_dir() or (module in SHOWN_AT and (root / SHOWN_AT[module]).exists()):
        return True
    return module in (root / "proc/filesystems").read_text(encoding="ascii").split()


def sysctl_path(name: str, root: Path) -> Path:
    """The file of a setting: 'vm.panic_on_oom' -> /proc/sys/vm/panic_on_oom."""
    return root / "proc/sys" / name.replace(".", "/")


def read_sysctl(name: str, root: Path) -> str | None:
    """The running value, with single blanks; None when the kernel has no such setting."""
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


def run(params: dict[str, Any], check_mode: bool, execute: Callable[[list[str]], tuple[int, str, str]], root: Path = Path("/")) -> dict[str, Any]:
    """The result of the module."""
    before: list[str] = []
    after: list[str] = []
    for module in params["modules"]:
        if is_there(module, root):
            continue
        before.append(f"{module}: not loaded")
        after.append(f"{module}: loaded")
        if not check_mode:
            code, out, err = execute(["modprobe", module])
            if code != 0:
                raise KernelError(f"kernel module {module}: neither loaded, built in nor loadable: {(err or out).strip()}")
    for name, wanted in params["sysctls"].items():
        value = " ".join(str(wanted).split())
        running = read_sysctl(name, root)
        if running == value:
            continue
        if running is None and not check_mode:
            raise KernelError(f"sysctl {name}: this kernel has no such setting")
        before.append(f"{name}={running or 'absent'}")
        after.append(f"{name}={value}")
        if not check_mode:
            write_sysctl(name, value, root)
    diff = {"before": "".join(f"{line}\n" for line in before), "after": "".join(f"{line}\n" for line in after)}
    return {"changed": bool(after), "differing": after, "diff": diff}


def main() -> None:
    spec = {"modules": {"type": "list", "elements": "str", "default": []}, "sysctls": {"type": "dict", "default": {}}}
    module = AnsibleModule(argument_spec=spec, supports_check_mode=True)
    try:
        result = run(module.params, module.check_mode, module.run_command)
    except (KernelError, OSError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(**result)


if __name__ == "__main__":
    main()
