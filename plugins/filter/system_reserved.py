# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The kubelet's system-reserved, so that scheduling believes in the server's declared size."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.shaka.platform.plugins.module_utils.quantities import QuantityError, format_cpu, format_memory, parse_cpu, parse_memory

DOCUMENTATION = r"""
name: system_reserved
short_description: Compute the kubelet's system-reserved for a declared server size
version_added: "0.1.0"
author: The shaka.platform founders (@shaka-platform)
description:
  - The kubelet computes allocatable = capacity - system-reserved - eviction threshold
    (U(https://kubernetes.io/docs/tasks/administer-cluster/reserve-compute-resources/)). This returns the system-reserved with which allocatable
    is the declared size minus the reserve, also where the machine shows more than the server may use (a container, a shared host).
  - K3s itself is to stay within a part of the reserve; C(go_memory) is that part, in the form of Go's C(GOMEMLIMIT).
  - For a machine a little smaller than declared (the kernel keeps some memory), its real size counts.
positional: server, facts, eviction_memory
options:
  _input:
    description: The reserve, C(cpu) and C(memory) as Kubernetes quantities.
    type: dict
    required: true
  server:
    description: The declared size, C(cpu) and C(memory); empty means the machine's.
    type: dict
    required: true
  facts:
    description: C(ansible_facts) with C(processor_vcpus) and C(memtotal_mb) (MiB).
    type: dict
    required: true
  eviction_memory:
    description: The kubelet's eviction threshold, a part of the reserve.
    type: str
    required: true
"""

EXAMPLES = r"""
- name: Show what the kubelet is told on a machine of 24 GiB that may use 2
  ansible.builtin.debug:
    msg: "{{ {'cpu': '250m', 'memory': '700Mi'} | shaka.platform.system_reserved({'cpu': '2', 'memory': '2Gi'}, ansible_facts, '100Mi') }}"
"""

RETURN = r"""
_value: {description: "C(cpu) and C(memory) as Kubernetes quantities, C(go_memory) in MiB.", type: dict}
"""


# Tenths of the reserve that K3s's process may take before Go collects garbage more often; the rest is for containerd, its shims and the system.
K3S_TENTHS = 7


def _reserve(name: str, size: int, capacity: int, reserve: int, eviction: int) -> int:
    variable = f"platform_server.reserved.{name}"
    usable = min(size or capacity, capacity)
    if reserve >= usable:
        raise AnsibleFilterError(f"{variable} takes all of the server's {name}, nothing is left for pods: reserve less, or use a larger server")
    if reserve < eviction:
        raise AnsibleFilterError(f"{variable} is less than the {format_memory(eviction)} below which the kubelet evicts pods: reserve more")
    return capacity - usable + reserve - eviction


def system_reserved(reserve: Mapping[str, Any], server: Mapping[str, Any], facts: Mapping[str, Any], eviction_memory: str) -> dict[str, str]:
    """The quantities for `system-reserved`, and the limit for K3s's own heap."""
    try:
        sizes = parse_cpu(str(server.get("cpu") or "0")), parse_memory(str(server.get("memory") or "0"))
        reserves = parse_cpu(str(reserve["cpu"])), parse_memory(str(reserve["memory"]))
        eviction = parse_memory(eviction_memory)
    except QuantityError as error:
        raise AnsibleFilterError(f"platform_server: a quantity {error}") from error
    cpu = _reserve("cpu", sizes[0], int(facts["processor_vcpus"]) * 1000, reserves[0], 0)
    memory = _reserve("memory", sizes[1], int(facts["memtotal_mb"]) << 20, reserves[1], eviction)
    return {"cpu": format_cpu(cpu), "memory": format_memory(memory), "go_memory": f"{(reserves[1] * K3S_TENTHS // 10) >> 20}MiB"}


class FilterModule:
    """The filter of this file."""

    def filters(self) -> dict[str, Any]:
        return {"system_reserved": system_reserved}
