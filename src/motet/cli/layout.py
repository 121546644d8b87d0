"""Lines for a terminal of some width: hanging indents, columns, shortening; nothing is ever wrapped in an ugly place.

What comes from outside (ids, errors, notes, results) passes through `clean`, so that no recorded text can move the
cursor, colour the screen or retitle the window of who reads it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.text import Text

NARROWEST = 40
WITHOUT_TERMINAL = 100
"""The width where nobody says one: wide enough to read, narrow enough for a mail or a log."""

LONGEST_FIRST = 32
SHORTEST_LAST = 14

_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_MEASURE = Console(width=WITHOUT_TERMINAL, file=None, color_system=None)


def clean(text: str) -> str:
    """The text on one line: runs of white space are one space, other control characters are shown as escapes."""
    return _CONTROLS.sub(lambda found: ascii(found[0])[1:-1], " ".join(text.split()))


def shorten(text: str, width: int) -> str:
    """The text, or its beginning and three dots."""
    if cell_len(text) <= width:
        return text
    return set_cell_size(text, max(width - 3, 0)).rstrip() + "..."[: max(width, 0)]


def pad(text: str, width: int, *, right: bool = False) -> str:
    """The text with spaces, to so many columns."""
    spaces = " " * max(0, width - cell_len(text))
    return spaces + text if right else text + spaces


def hanging(first: Text, body: Text, width: int, *, indent: int | None = None) -> list[Text]:
    """`first`, then `body` beside it; what does not fit goes below, under the beginning of the body."""
    column = cell_len(first.plain) if indent is None else indent
    room = max(width - column, NARROWEST // 2)
    lines = body.wrap(_MEASURE, room) if body.plain else [Text()]
    found: list[Text] = []
    for number, line in enumerate(lines):
        line.rstrip()
        found.append(Text.assemble(first, line) if number == 0 else Text.assemble(" " * column, line))
        found[-1].rstrip()
    return found


def flowing(parts: Sequence[Text], width: int, gap: str = "   ", indent: int = 2) -> list[Text]:
    """The parts side by side; no part is torn apart unless it is wider than the line."""
    lines: list[Text] = []
    for part in parts:
        if lines and cell_len(lines[-1].plain) + cell_len(gap) + cell_len(part.plain) <= width:
            lines[-1] = Text.assemble(lines[-1], gap, part)
        else:
            lines.append(Text.assemble(" " * indent, part) if lines else part)
    return [piece for line in lines for piece in (line.wrap(_MEASURE, width) if _too_wide(line, width) else [line])]


def table(
    heads: Sequence[str],
    rows: Sequence[Sequence[Text]],
    width: int,
    *,
    dispensable: Sequence[int] = (),
    gap: str = "  ",
) -> list[Text]:
    """Columns as wide as they need to be; the last takes what is left.

    Where that is too little, the `dispensable` columns go, in this order; then the first is shortened. All of it can be
    had with --json.
    """
    if not rows:
        return []
    widths = [max(cell_len(head), *(cell_len(row[column].plain) for row in rows)) for column, head in enumerate(heads)]
    shown = [column for column in range(len(heads)) if any(row[column].plain for row in rows)]
    order = [column for column in dispensable if column in shown]
    while (over := _least(widths, shown, gap) - width) > 0 and order:
        shown.remove(order.pop(0))
    if over > 0:
        widths[shown[0]] = max(min(widths[shown[0]], LONGEST_FIRST) - over, 8)
    elif (over := sum(widths[column] for column in shown) + len(gap) * (len(shown) - 1) - width) > 0:
        last = max(widths[shown[-1]] - over, min(widths[shown[-1]], SHORTEST_LAST))
        over -= widths[shown[-1]] - last
        widths[shown[-1]] = last
        widths[shown[0]] -= max(over, 0)
    kept = [widths[column] for column in shown]
    lines = [_row([Text(heads[column], style="bold") for column in shown], kept, gap)]
    return lines + [_row([row[column] for column in shown], kept, gap) for row in rows]


def _least(widths: Sequence[int], shown: Sequence[int], gap: str) -> int:
    """The columns that a table needs when its first and last column are as narrow as they may be."""
    first, *others = (widths[column] for column in shown)
    between, last = others[:-1], others[-1:]
    least = [min(first, LONGEST_FIRST), *between, *(min(found, SHORTEST_LAST) for found in last)]
    return sum(least) + len(gap) * (len(least) - 1)


def _row(cells: Sequence[Text], widths: Sequence[int], gap: str) -> Text:
    shown = [
        Text(pad(shorten(cell.plain, room), room), style=cell.style) for cell, room in zip(cells, widths, strict=True)
    ]
    line = Text(gap).join(shown)
    line.rstrip()
    return line


def _too_wide(line: Text, width: int) -> bool:
    return cell_len(line.plain) > width
