"""Diagrams in the terminal: a matrix as a shaded table, a curve as bars; `--plots` has them as files."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from peter.diagram import Curve, Matrix, from_json

from ._output import Drawing, table, text

if TYPE_CHECKING:
    from rich.text import Text

SHORT = 6  # letters of a name that can stand over a column of counts
FEW = 8  # columns that can have names
MOST = 24  # columns that a terminal can hold
WIDTH = 24  # characters of a bar


def diagrams(reference: str, kept: Sequence[Mapping[str, Any]]) -> Drawing:
    """Each diagram that a version keeps, below its title."""
    for diagram in map(from_json, kept):
        yield f"{diagram.title} ({reference}, test users)"
        yield from _curve(diagram) if isinstance(diagram, Curve) else _matrix(diagram)


def _matrix(diagram: Matrix) -> Drawing:
    """Counts; the darker a cell, the larger its share of its row."""
    names = list(diagram.columns)
    if len(names) > MOST:
        yield f"Its {len(names)} columns do not fit here; draw it with --plots DIR."
        return
    named = len(names) <= FEW and all(len(name) <= SHORT for name in names)
    heads = (
        [str(text(name)) for name in names] if named else [str(number) for number in range(1, len(names) + 1)]
    )
    first = f"{diagram.row_label} \\ {diagram.column_label}"
    drawn = table([first, *heads], [], right=heads)
    for number, (row, counts) in enumerate(zip(diagram.rows, diagram.values, strict=True), 1):
        title = text(row if named else f"{number} {row}")
        drawn.add_row(title, *(_shaded(count, count / (sum(counts) or 1)) for count in counts))
    yield drawn


def _shaded(count: float, share: float) -> "Text":
    """From the terminal's own background to blue, in 24-bit colours that Rich maps to what there is."""
    from rich.text import Text

    if not count:
        return Text("·", style="dim")
    level = [round(start + share * (end - start)) for start, end in ((222, 8), (235, 48), (247, 107))]
    ink = "white" if share > 0.5 else "black"
    return Text(f" {count:,.0f} ", style=f"{ink} on rgb({','.join(map(str, level))})")


def _curve(diagram: Curve) -> Drawing:
    """A bar is what was found, the mark | where it should end."""
    low, high = diagram.ends
    rows = (
        [f"{x:.2f}", _bar((x - low) / (high - low), (y - low) / (high - low)), f"{y:.2f}", users]
        for x, y, users in zip(diagram.x, diagram.y, diagram.users, strict=True)
    )
    yield table([diagram.x_label, "", diagram.y_label, "users"], rows, right=[diagram.y_label, "users"])


def _bar(expected: float, found: float) -> str:
    filled, mark = (min(WIDTH, max(0, round(WIDTH * share))) for share in (found, expected))
    bar = list("█" * filled + "░" * (WIDTH - filled))
    bar[max(0, mark - 1)] = "|"
    return "".join(bar)
