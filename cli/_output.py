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

LISTED = 24  # values of a list in a cell; `--json` has the others
PIPE_WIDTH = 200  # columns where no terminal says how wide it is: a cut table is of no use to grep


def show(document: Document, as_json: bool, draw: Callable[[Document], Drawing]) -> None:
    """Print `document` itself, or what `draw` makes of it."""
    if as_json:
        print(json.dumps(document, indent=2, allow_nan=False, default=str))
        return
    console = _console()
    for part in draw(document):
        whole = isinstance(part, str) and not console.is_terminal  # a sentence is a line to grep
        console.print(part, markup=False, soft_wrap=whole)


def _console() -> "Console":
    from rich.console import Console

    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=PIPE_WIDTH)


def table(columns: Sequence[str], rows: Iterable[Sequence[Any]], right: Sequence[str] = ()) -> "Table":
    """A plain table; the columns named in `right` hold numbers."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    drawn = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for column in columns:
        drawn.add_column(column, justify="right" if column in right else "left", overflow="fold")
    for row in rows:
        drawn.add_row(*(text(cell) for cell in row))
    return drawn


def facts(pairs: Mapping[str, Any]) -> "RenderableType":
    """Names and values, one pair a line; what is nested deeper than a line can hold gets lines of its own."""
    from rich.table import Table

    grid = Table.grid(padding=(0, 2))
    for name, value in _lines(pairs):
        grid.add_row(name.replace("_", " "), text(value))
    return grid


def _lines(pairs: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in pairs.items():
        if isinstance(value, Mapping) and any(_deep(inner) for inner in value.values()):
            yield from _lines(value, f"{above}{name} ")
        else:
            yield f"{above}{name}", value


def _deep(value: Any) -> bool:
    return isinstance(value, Mapping) and not _is_interval(value)


def _is_interval(value: Mapping[str, Any]) -> bool:
    return value.keys() == {"value", "low", "high"}


def interval(value: Mapping[str, Any]) -> str:
    """`0.712 [0.683, 0.741]`."""
    return f"{value['value']:.3f} [{value['low']:.3f}, {value['high']:.3f}]"


def minute(moment: str | None) -> str | None:
    """An ISO moment to the minute, for people; everything is in UTC."""
    return moment and moment[:16].replace("T", " ")


def text(value: Any) -> "Text":
    """One cell, with control characters replaced."""
    from rich.text import Text

    return Text(
        "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in _words(value))
    )


def _words(value: Any) -> str:
    """Thousands told apart, a dash for nothing, nested values one after the other."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, Mapping):
        inner = (f"{name} {_words(part)}" for name, part in value.items())
        return interval(value) if _is_interval(value) else ", ".join(inner) or "-"
    if isinstance(value, list | tuple):
        more = [f"and {len(value) - LISTED:,} more"] if len(value) > LISTED else []
        return ", ".join([*map(_words, value[:LISTED]), *more]) or "-"
    return "-" if value is None or value == "" else str(value)
