"""Kubernetes quantities: what parses, what it is worth, and what a wrong one is told."""

from __future__ import annotations

import pytest
from ansible_collections.shaka.platform.plugins.module_utils import quantities as q


@pytest.mark.parametrize(
    ("text", "millicores"),
    [("250m", 250), ("2", 2000), ("1.5", 1500), (".5", 500), ("0", 0), ("1e3m", None), ("2k", 2_000_000), ("1e1", 10_000), ("1000000u", 1000)],
)
def test_cpu(text: str, millicores: int | None) -> None:
    if millicores is None:
        with pytest.raises(q.QuantityError):
            q.parse_cpu(text)
    else:
        assert q.parse_cpu(text) == millicores


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("64Mi", 64 << 20),
        ("1Gi", 1 << 30),
        ("0.5Gi", 512 << 20),
        ("129M", 129_000_000),
        ("129e6", 129_000_000),
        ("128974848", 128974848),
        ("1000m", 1),
        ("1E", 10**18),
        ("1.1Gi", 1181116007),
        ("0.1Mi", 104858),
    ],
)
def test_memory(text: str, size: int) -> None:
    assert q.parse_memory(text) == size


@pytest.mark.parametrize(
    ("parse", "text", "says"),
    [
        (q.parse_cpu, "0.5m", "finer than 1m"),
        (q.parse_memory, "512MB", "512Mi"),
        (q.parse_memory, "2GB", "2Gi"),
        (q.parse_memory, "100m", "did you mean Mi"),
        (q.parse_memory, "lots", "not a Kubernetes quantity"),
        (q.parse_memory, "", "not a Kubernetes quantity"),
        (q.parse_memory, "٣Gi", "not a Kubernetes quantity"),
        (q.parse_memory, "1Gi\n1", "not a Kubernetes quantity"),
        (q.parse_memory, "-1Gi", "not a Kubernetes quantity"),
        (q.parse_count, "1.5", "whole number"),
    ],
)
def test_refused(parse: type[int], text: str, says: str) -> None:
    with pytest.raises(q.QuantityError, match=says):
        parse(text)


@pytest.mark.parametrize("text", ["250m", "2", "1325m"])
def test_cpu_round_trip(text: str) -> None:
    assert q.format_cpu(q.parse_cpu(text)) == text


@pytest.mark.parametrize("text", ["64Mi", "1Gi", "1536Mi", "5Ti", "1000"])
def test_memory_round_trip(text: str) -> None:
    assert q.format_memory(q.parse_memory(text)) == text


@pytest.mark.parametrize(
    ("size", "text"), [(1, "1Mi"), (64 << 20, "64Mi"), (2 << 30, "2Gi"), (1500 << 20, "1500Mi"), ((20 << 30) + 1, "20.1Gi"), (0, "0Mi")]
)
def test_shown_memory_never_looks_smaller(size: int, text: str) -> None:
    assert q.show_memory(size) == text


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("requests.cpu", "cpu"),
        ("limits.memory", "memory"),
        ("requests.storage", "memory"),
        ("pods", "count"),
        ("count/jobs.batch", "count"),
        ("podz", None),
    ],
)
def test_resource_kind(name: str, kind: str | None) -> None:
    assert q.resource_kind(name) == kind
