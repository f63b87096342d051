"""A file of what is known of items: what its columns hold, and where a fault stands."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import polars as pl

from peter.data import formats
from peter.data.formats import Table
from peter.data.item_columns import NOUNS, TYPES, Column, Kind
from peter.errors import InputError

ID = "item_id"


@dataclass(frozen=True)
class ItemFile:
    """One file and which of its columns has the ids."""

    table: Table
    id_column: str

    @classmethod
    def open(cls, path: Path, item: str | None) -> "ItemFile":
        """Find the ids, in a column called `item` or as usual. Raises InputError."""
        table = formats.open_table(path)
        names = [*([item] if item else []), *formats.ITEM]
        remedy = f"rename the one that has the item ids to {names[0]}"
        return cls(table, formats.find_column(table, None, names, remedy))

    def frame(self, known: Mapping[str, Kind]) -> pl.DataFrame:
        """Each item's row in order of `item_id`, columns by kind; raises for what is not what it should be.

        Args:
            known: kinds of columns of which the file does not say it.
        """
        lists = self.table.lists()
        plain = [name for name in self.table.columns if name == self.id_column or name not in lists.columns]
        texts = pl.concat(self.table.batches(plain))
        self._check_ids(texts[self.id_column])
        series = {ID: texts[self.id_column]}
        for column in self._columns({**texts.to_dict(), **lists.to_dict()}):
            if column.name in series:
                raise InputError(f"{self.table.path} has two columns called {column.name!r}; rename one.")
            series[column.name] = self._values(column, known.get(column.name))
        if len(series) == 1:
            raise InputError(f"{self.table.path} has ids of items and nothing else; give it more columns.")
        return self._distinct(pl.DataFrame(series)).sort(ID).rechunk()

    def _columns(self, found: Mapping[str, pl.Series]) -> Iterator[Column]:
        for name, written in zip(self.table.columns, self.table.header, strict=True):
            if name == self.id_column:
                continue
            called, colon, type_ = written.rpartition(":") if ":" in written else (written, "", "")
            if colon and type_ not in TYPES:
                raise InputError(
                    f"{self.table.path} says {type_!r} of column {called!r}; write one of "
                    f"{', '.join(TYPES)} behind the last colon of its name."
                )
            yield Column(called, type_, self._raw(name, found[name]))

    def _raw(self, name: str, values: pl.Series) -> pl.Series:
        if not isinstance(values.dtype, pl.List):
            return values.str.strip_chars()
        inner = values.dtype.inner
        if inner == pl.String:
            return values
        if inner.is_numeric():
            return values.cast(pl.List(pl.Float32))
        raise InputError(
            f"{self.table.path} holds lists of {inner} in column {name}; write it again as lists of text or "
            "of numbers."
        )

    def _values(self, column: Column, known: Kind | None) -> pl.Series:
        kind = column.told or known or column.guess()
        if isinstance(column.raw.dtype, pl.List) and kind != column.guess():
            raise InputError(
                f"{self.table.path} holds lists in column {column.name}, which are no {kind}; "
                f"call them {column.name}:{column.guess()}."
            )
        values, bad = column.values(kind)
        for row in bad.arg_true().head(1):
            raise InputError(
                f"{self._at(row)}: {_short(column.raw[row])} in column {column.name} is not {NOUNS[kind]}; "
                f"correct it, leave it empty, or say what the column holds, as in {column.name}:text."
            )
        return values

    def _check_ids(self, ids: pl.Series) -> None:
        for row in (ids == "").arg_true().head(1):
            raise InputError(
                f"{self._at(row)} has nothing in column {self.id_column}; fill it in or remove the row."
            )
        for row in formats.unclean(ids).arg_true().head(1):
            raise formats.unclean_error(self._at(row), "item id", ids[row])

    def _distinct(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Each row once; two of one item that differ are refused."""
        first = frame.select(pl.struct(pl.all()).is_first_distinct()).to_series()
        once = frame.filter(first)
        for item in once[ID].filter(once[ID].is_duplicated()).head(1):
            one, other = first.arg_true().filter(once[ID] == item)[:2]
            raise InputError(
                f"{self._at(one)} and {self._at(other, False)} say different things of item {item!r}; "
                "keep one of them."
            )
        return once

    def _at(self, row: int, whole: bool = True) -> str:
        """Where a row of the table stands in the file."""
        number, _ = next(islice(self.table.rows([self.id_column]), row, None))
        place = f"{self.table.unit} {number}"
        return f"{self.table.path}, {place}" if whole else place


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else " ".join(map(str, value))
    return repr(text if len(text) <= 40 else f"{text[:40]}..")
