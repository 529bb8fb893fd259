# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Plain text tables for a terminal."""

from __future__ import annotations

from collections.abc import Sequence

RULE: tuple[str, ...] = ()


def table(head: Sequence[str], rows: Sequence[Sequence[str]], right: str = "") -> str:
    """Columns as wide as their widest cell, two spaces apart.

    :arg rows: cells; `RULE` draws a line.
    :arg right: one character per column, 'r' where it is aligned to the right.
    """
    lines = [head, *(row for row in rows if row)]
    widths = [max(len(line[index]) for line in lines) for index in range(len(head))]

    def draw(row: Sequence[str]) -> str:
        if not row:
            return "-" * (sum(widths) + 2 * (len(widths) - 1))
        cells = (
            cell.rjust(width) if right[index : index + 1] == "r" else cell.ljust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        return "  ".join(cells).rstrip()

    return "\n".join(draw(row) for row in [head, RULE, *rows])


def grouped(groups: Sequence[tuple[str, Sequence[str]]], width: int = 118) -> str:
    """The groups, each with its items wrapped beside its name."""
    margin = max((len(name) for name, _items in groups), default=0) + 2
    lines: list[str] = []
    for name, items in groups:
        line = name.ljust(margin)
        for item in items:
            if len(line) > margin and len(line) + len(item) + 2 > width:
                lines.append(line.rstrip())
                line = " " * margin
            line += f"{item}, "
        lines.append(line.rstrip().rstrip(","))
    return "\n".join(lines)
