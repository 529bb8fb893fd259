# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What pods ask for, added up, and what of it a quota has no room for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Amounts:
    """Millicores, bytes and counts. A limit of 0 means that none is set."""

    cpu_request: int = 0
    cpu_limit: int = 0
    memory_request: int = 0
    memory_limit: int = 0
    pods: int = 0
    disk: int = 0
    claims: int = 0
    ephemeral_request: int = 0
    ephemeral_limit: int = 0

    def __add__(self, other: Amounts) -> Amounts:
        return Amounts(*(a + b for a, b in zip(self.numbers(), other.numbers(), strict=True)))

    def __mul__(self, count: int) -> Amounts:
        return Amounts(*(value * count for value in self.numbers()))

    def numbers(self) -> tuple[int, ...]:
        return (self.cpu_request, self.cpu_limit, self.memory_request, self.memory_limit, self.pods, self.disk, self.claims, *self.ephemeral())

    def ephemeral(self) -> tuple[int, int]:
        """What containers may write outside of volumes."""
        return self.ephemeral_request, self.ephemeral_limit

    @staticmethod
    def total(parts: Iterable[Amounts]) -> Amounts:
        return sum(parts, Amounts())


def quota_shortfalls(quota: Mapping[str, int], need: Amounts) -> list[tuple[str, int, int]]:
    """(name, hard, needed) for each part of a quota that is less than the need."""
    needs = {
        "cpu": need.cpu_request,
        "requests.cpu": need.cpu_request,
        "limits.cpu": need.cpu_limit,
        "memory": need.memory_request,
        "requests.memory": need.memory_request,
        "limits.memory": need.memory_limit,
        "pods": need.pods,
        "requests.storage": need.disk,
        "persistentvolumeclaims": need.claims,
        "ephemeral-storage": need.ephemeral_request,
        "requests.ephemeral-storage": need.ephemeral_request,
        "limits.ephemeral-storage": need.ephemeral_limit,
    }
    return [(name, hard, needs[name]) for name, hard in quota.items() if needs.get(name, 0) > hard]
