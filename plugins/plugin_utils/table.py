# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Tables in plain text: aligned columns, a rule under the heads, no trailing blanks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def render(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    """The lines of a table. Columns that are empty in every row are left out; missing cells are empty, line breaks become blanks."""
    cells = [[" ".join(str(cell).split()) for cell in row] + [""] * (len(columns) - len(row)) for row in rows]
    shown = [index for index in range(len(columns)) if not cells or any(row[index] for row in cells)]
    lines = [list(columns), *cells]
    widths = [max(len(line[index]) for line in lines) for index in shown]
    text = ["  ".join(line[index].ljust(width) for index, width in zip(shown, widths, strict=True)).rstrip() for line in lines]
    return [text[0], "  ".join("-" * width for width in widths), *text[1:]]
