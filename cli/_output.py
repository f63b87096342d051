"""How results reach the reader: one JSON document, or tables, on standard output."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table
    from rich.text import Text

Document = Mapping[str, Any]
Drawing = Iterator["RenderableType"]  # the parts of a page, from the top

PIPE_WIDTH = 200  # columns where no terminal says how wide it is: a cut table is of no use to grep


def show(document: Document, as_json: bool, draw: Callable[[Document], Drawing]) -> None:
    """Print `document` itself, or what `draw` makes of it."""
    if as_json:
        print(json.dumps(document, indent=2, allow_nan=False, default=str))
        return
    console = _console()
    for part in draw(document):
        console.print(part, markup=False)


def _console() -> "Console":
    from rich.console import Console

    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=PIPE_WIDTH)


def table(columns: Sequence[str], rows: Iterable[Sequence[Any]], right: Sequence[str] = ()) -> "Table":
    """A plain table; the columns named in `right` hold numbers."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    drawn = Table(box=SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        drawn.add_column(column, justify="right" if column in right else "left", overflow="fold")
    for row in rows:
        drawn.add_row(*(text(cell) for cell in row))
    return drawn


def facts(pairs: Mapping[str, Any]) -> "RenderableType":
    """Names and values, one pair a line."""
    from rich.table import Table

    grid = Table.grid(padding=(0, 2))
    for name, value in pairs.items():
        grid.add_row(name.replace("_", " "), text(value))
    return grid


def text(value: Any) -> "Text":
    """One cell: thousands told apart, nested values as JSON, control characters replaced."""
    from rich.text import Text

    if value is None:
        return Text("-")
    if isinstance(value, bool):
        return Text("yes" if value else "no")
    if isinstance(value, int):
        return Text(f"{value:,}")
    if isinstance(value, float):
        return Text(f"{value:.4g}")
    if isinstance(value, Mapping | list | tuple):
        return Text(json.dumps(value, default=str))
    return Text(
        "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in str(value))
    )
