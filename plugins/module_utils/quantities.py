# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Kubernetes quantities, exact: CPU as whole millicores, memory and disk as whole bytes, counts as whole numbers.

Source of the rules: the API convention of `resource.Quantity` (https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/)
and "Resource units" of https://kubernetes.io/docs/concepts/configuration/manage-resources-containers/ (nothing finer than 1m of CPU).
"""

from __future__ import annotations

import math
import re
from fractions import Fraction

_BINARY = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40, "Pi": 2**50, "Ei": 2**60}
_DECIMAL = {
    "n": Fraction(1, 10**9),
    "u": Fraction(1, 10**6),
    "m": Fraction(1, 1000),
    "": Fraction(1),
    "k": Fraction(10**3),
    "M": Fraction(10**6),
    "G": Fraction(10**9),
    "T": Fraction(10**12),
    "P": Fraction(10**15),
    "E": Fraction(10**18),
}
_NUMBER = re.compile(r"(?P<number>\d+(?:\.\d*)?|\.\d+)(?:[eE](?P<exponent>[+-]?\d{1,2})|(?P<suffix>[A-Za-z]*))", re.ASCII)

COUNTED = frozenset(
    [
        "pods",
        "services",
        "secrets",
        "configmaps",
        "persistentvolumeclaims",
        "replicationcontrollers",
        "resourcequotas",
        "services.loadbalancers",
        "services.nodeports",
    ]
)


class QuantityError(ValueError):
    """The text is not a quantity of the expected kind; the message says why, and how to write it."""


def exact(text: str) -> Fraction:
    """A quantity in its own unit: cores, bytes or objects."""
    match = _NUMBER.fullmatch(text)
    if match is None:
        raise QuantityError("is not a Kubernetes quantity such as 250m, 2, 512Mi or 20Gi")
    if re.match(r"0\d", text):
        raise QuantityError("has a leading zero, which some readers take for octal; leave it out")
    number = Fraction(match["number"])
    if match["exponent"] is not None:
        return number * Fraction(10) ** int(match["exponent"])
    suffix = match["suffix"]
    if suffix in _BINARY:
        return number * _BINARY[suffix]
    if suffix in _DECIMAL:
        return number * _DECIMAL[suffix]
    near = {"mb": "Mi", "gb": "Gi", "kb": "Ki", "mib": "Mi", "gib": "Gi", "kib": "Ki", "mi": "Mi", "gi": "Gi", "ki": "Ki", "g": "Gi"}.get(
        suffix.lower()
    )
    hint = f"; did you mean {match['number']}{near}?" if near else ""
    raise QuantityError(f"has the unknown unit '{suffix}'{hint}")


def parse_cpu(text: str) -> int:
    """CPU in millicores: '250m' -> 250, '1.5' -> 1500."""
    cores = exact(text.strip()) * 1000
    if cores.denominator != 1:
        raise QuantityError("is finer than 1m, the smallest CPU that Kubernetes accepts")
    return int(cores)


def parse_memory(text: str) -> int:
    """Memory or disk in bytes: '64Mi' -> 67108864. Of a fraction of a unit, as in 1.1Gi, the next whole byte, which is what Kubernetes gives."""
    size = exact(text.strip())
    if size.denominator != 1 and text.strip()[-1] in "num":
        raise QuantityError("is not a whole number of bytes ('m' means a thousandth; did you mean Mi?)")
    return math.ceil(size)


def parse_count(text: str) -> int:
    """A number of objects: '10' -> 10."""
    count = exact(text.strip())
    if count.denominator != 1:
        raise QuantityError("is not a whole number")
    return int(count)


def resource_kind(name: str) -> str | None:
    """What a resource or quota name is measured in: 'cpu', 'memory' (bytes), 'count', or None when Kubernetes has no such name."""
    bare = name.removeprefix("requests.").removeprefix("limits.")
    if bare == "cpu":
        return "cpu"
    if bare in ("memory", "ephemeral-storage") or name in ("requests.storage",):
        return "memory"
    if name in COUNTED or re.fullmatch(r"count/[a-z]+(\.[a-z0-9.-]+)?", name):
        return "count"
    return None


def parse_resource(name: str, text: str) -> int:
    """A quantity in the unit of the named resource or quota: millicores, bytes or a count."""
    kind = resource_kind(name)
    if kind is None:
        raise QuantityError("is not for a resource that Kubernetes counts")
    return {"cpu": parse_cpu, "memory": parse_memory, "count": parse_count}[kind](text)


def format_cpu(millicores: int) -> str:
    """Canonical text: 1325 -> '1325m', 2000 -> '2'."""
    return str(millicores // 1000) if millicores % 1000 == 0 else f"{millicores}m"


def format_memory(size: int) -> str:
    """Canonical, exact text: the largest binary unit that divides the size."""
    for suffix, unit in reversed(_BINARY.items()):
        if size and size % unit == 0:
            return f"{size // unit}{suffix}"
    return str(size)


def format_resource(name: str, value: int) -> str:
    """The canonical text of a value in the unit of the named resource."""
    return {"cpu": format_cpu, "memory": format_memory}.get(resource_kind(name) or "", str)(value)


def show_memory(size: int) -> str:
    """Short text for a table (1.4Gi, 512Mi), rounded up so that a requirement never looks smaller than it is."""
    if abs(size) >= _BINARY["Gi"] and abs(size) % _BINARY["Mi"] == 0 and (abs(size) // _BINARY["Mi"]) % 1024 == 0:
        return f"{size // _BINARY['Gi']}Gi"
    if abs(size) >= 4 * _BINARY["Gi"]:
        return f"{-(-size * 10 // _BINARY['Gi']) / 10:g}Gi"
    return f"{-(-size // _BINARY['Mi'])}Mi"
