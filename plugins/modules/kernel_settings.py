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

import os  # noqa: E402
from typing import Any, Callable  # noqa: E402

from ansible.module_utils.basic import AnsibleModule  # noqa: E402

# Where the kernel shows that a feature is there, whether its module was loaded, built in or belongs to a container's host.
SHOWN_AT = {"br_netfilter": "sys/net/bridge/bridge-nf-call-iptables"}


class KernelError(Exception):
    """The kernel has not, or does not accept, a setting; the text names it."""


def is_there(module: str, proc: str = "/proc", sys: str = "/sys") -> bool:
    """Whether the kernel already offers what a module brings."""
    if os.path.isdir(f"{sys}/module/{module}") or (module in SHOWN_AT and os.path.exists(f"{proc}/{SHOWN_AT[module]}")):
        return True
    with open(f"{proc}/filesystems", encoding="ascii") as source:
        return module in source.read().split()


def read_sysctl(name: str, proc: str = "/proc") -> str | None:
    """The running value, with single blanks; None when the kernel has no such setting."""
    try:
        with open(f"{proc}/sys/{name.replace('.', '/')}", encoding="ascii") as source:
            return " ".join(source.read().split())
    except FileNotFoundError:
        return None


def write_sysctl(name: str, value: str, proc: str = "/proc") -> None:
    """Set a running value; KernelError when the kernel refuses."""
    try:
        with open(f"{proc}/sys/{name.replace('.', '/')}", "w", encoding="ascii") as target:
            target.write(value)
    except OSError as error:
        raise KernelError(f"sysctl {name}: cannot be set to {value}: {error.strerror}") from error


def run(params: dict[str, Any], check_mode: bool, execute: Callable[[list[str]], tuple[int, str, str]], proc: str = "/proc", sys: str = "/sys") -> dict[str, Any]:
    """The result of the module."""
    before: list[str] = []
    after: list[str] = []
    for module in params["modules"]:
        if is_there(module, proc, sys):
            continue
        before.append(f"{module}: not loaded")
        after.append(f"{module}: loaded")
        if not check_mode:
            code, out, err = execute(["modprobe", module])
            if code != 0:
                raise KernelError(f"kernel module {module}: neither loaded, built in nor loadable: {(err or out).strip()}")
    for name, wanted in params["sysctls"].items():
        value = " ".join(str(wanted).split())
        running = read_sysctl(name, proc)
        if running == value:
            continue
        if running is None and not check_mode:
            raise KernelError(f"sysctl {name}: this kernel has no such setting")
        before.append(f"{name}={running or 'absent'}")
        after.append(f"{name}={value}")
        if not check_mode:
            write_sysctl(name, value, proc)
    diff = {"before": "".join(f"{line}\n" for line in before), "after": "".join(f"{line}\n" for line in after)}
    return {"changed": bool(after), "differing": after, "diff": diff}


def main() -> None:
    module = AnsibleModule(
        argument_spec={"modules": {"type": "list", "elements": "str", "default": []}, "sysctls": {"type": "dict", "default": {}}}, supports_check_mode=True
    )
    try:
        result = run(module.params, module.check_mode, module.run_command)
    except (KernelError, OSError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(**result)


if __name__ == "__main__":
    main()
