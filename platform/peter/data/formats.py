"""Tables that people bring: found by ending, read as columns of text, refused in one sentence."""

import os
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Protocol

import polars as pl

from peter.data.parquet import ParquetTable
from peter.data.text import TextTable
from peter.errors import InputError

USER = ("user_id",)
ITEM = ("item_id",)
TIME = ("timestamp", "datetime", "event_time", "event_timestamp", "time")


class Table(Protocol):
    """A file of rows. Every value is text; "" is a missing one. Ids stay as written: `007` is not `7`."""

    @property
    def path(self) -> Path:
        """Where it lies."""

    @property
    def columns(self) -> tuple[str, ...]:
        """Names, in the order of the file."""

    @property
    def header(self) -> tuple[str, ...]:
        """The same as the file writes them, with types."""

    @property
    def unit(self) -> str:
        """What a row's number counts: "line" or "row"."""

    def batches(self, columns: Sequence[str]) -> Iterator[pl.DataFrame]:
        """Some columns as String, in file order, a bounded number of rows at a time."""

    def rows(self, columns: Sequence[str]) -> Iterator[tuple[int, Sequence[str]]]:
        """The same values one row at a time, slower, with the exact line (or row) number of each."""

    def lists(self) -> pl.DataFrame:
        """All columns that hold a list in each row, which the other two refuse."""


_OPENERS: dict[str, Callable[[Path], Table]] = {
    ".csv": partial(TextTable, delimiter=","),
    ".tsv": partial(TextTable, delimiter="\t"),
    ".inter": partial(TextTable, delimiter="\t", typed=True),  # RecBole's atomic files
    ".user": partial(TextTable, delimiter="\t", typed=True),
    ".item": partial(TextTable, delimiter="\t", typed=True),
    ".parquet": ParquetTable,
}


def open_table(path: Path) -> Table:
    """The table in a file.

    Raises:
        InputError: no such file, no permission, an unknown ending, or content that cannot be a table.
    """
    if not path.exists():
        raise InputError(f"There is no file {path}; check the path.")
    if path.is_dir():
        raise InputError(f"{path} is a folder; name the files in it.")
    if not os.access(path, os.R_OK):
        raise InputError(f"{path} may not be read by this user; change its permissions.")
    opener = _OPENERS.get(path.suffix.lower())
    if opener is None:
        raise InputError(f"{path} has an unknown ending; rename it to one of {', '.join(_OPENERS)}.")
    return opener(path)


def find_column(table: Table, wanted: str | None, defaults: Sequence[str], remedy: str) -> str:
    """The column called `wanted`, or else the first of `defaults` that the table has.

    Raises:
        InputError: no such column; `remedy` says what to do then.
    """
    found = [name for name in ([wanted] if wanted else defaults) if name in table.columns]
    if found:
        return found[0]
    raise InputError(
        f"{table.path} has no column {wanted or ' or '.join(defaults)}, only {', '.join(table.columns)}; "
        f"{remedy}."
    )


def unclean(texts: pl.Series) -> pl.Series:
    """Mask of values that look like another: with blanks around them, or not in Unicode NFC."""
    return (texts.str.strip_chars() != texts) | (texts.str.normalize("NFC") != texts)


def unclean_error(where: str, noun: str, text: str) -> InputError:
    """What to say about a value that `unclean` marks."""
    return InputError(
        f"{where}: the {noun} {text!r} has blanks around it or is not in Unicode NFC form; "
        "clean it there and in every file that names it."
    )
