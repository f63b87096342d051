"""Item table: what is known of items besides their events."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import polars as pl
import polars.exceptions

from peter.data import formats
from peter.data.formats import Table
from peter.data.item_columns import NOUNS, TYPES, Column, Kind
from peter.data.parquet import write_parquet
from peter.errors import CorruptObject, InputError

_ID = "item_id"
_KINDS: Mapping[Any, Kind] = {  # by the type of the column; a vector's says how long it is
    pl.String: "text",
    pl.List: "category",
    pl.Float64: "number",
    pl.Array: "vector",
}


@dataclass(frozen=True)
class ItemTable:
    """Items, events or none: text, categories, numbers, vectors; null where nothing is known."""

    frame: pl.DataFrame  # item_id: String, sorted, unique; String, List(String), Float64, Array(Float32, n)

    @property
    def kinds(self) -> Mapping[str, Kind]:
        """By column, in the file's order."""
        schema = self.frame.schema.items()
        return {name: _KINDS[dtype.base_type()] for name, dtype in schema if name != _ID}

    @classmethod
    def read(
        cls, path: Path, item: str | None = None, known: Mapping[str, Kind] | None = None
    ) -> "ItemTable":
        """Read a table of items; `name:kind` in its header says what a column holds where that is not plain.

        Args:
            item: the column of item ids, where the events have them under another name than `item_id`.
            known: kinds of columns of which the file itself does not say it.

        Raises:
            InputError: the file is not a proper table, or a value not what its column holds.
        """
        return cls(_ItemFile.open(path, item).frame(known or {}))

    @classmethod
    def load(cls, path: Path) -> "ItemTable":
        """Read what `save` wrote. Raises CorruptObject."""
        try:
            frame = pl.read_parquet(path, glob=False)
        except (polars.exceptions.PolarsError, OSError) as error:
            raise CorruptObject(
                f"The item table {path} cannot be read ({error}); run `peter verify`."
            ) from error
        if not _sound(frame):
            raise CorruptObject(f"{path} is not an item table that peter wrote; run `peter verify`.")
        return cls(frame)

    def save(self, path: Path) -> None:
        """Write a Parquet table; the same items give the same bytes."""
        write_parquet(self.frame.rechunk(), path)

    def merged(self, newer: "ItemTable") -> "ItemTable":
        """All items of both, as `newer` has them where both do.

        Raises:
            InputError: the columns, or what they hold, are not the same.
        """
        if odd := list(_unlike(self.frame.schema, newer.frame.schema)):
            raise InputError(
                f"The item table is not like the one before: {', '.join(odd)}; give it the same columns, "
                "with the same kinds."
            )
        both = pl.concat([self.frame, newer.frame.select(self.frame.columns)])
        return ItemTable(both.unique(_ID, keep="last", maintain_order=True).sort(_ID))

    def of(self, ids: Sequence[str]) -> pl.DataFrame:
        """[n] rows in the order of `ids`, which are left out; all null where the table has no such item."""
        wanted = pl.DataFrame({_ID: ids}, schema={_ID: pl.String})
        return wanted.join(self.frame, on=_ID, how="left", maintain_order="left").drop(_ID)

    def report(self, ids: Sequence[str]) -> dict[str, Any]:
        """JSON: how many items there are, how many of `ids` they are, and what is known of how many."""
        return {
            "rows": len(self.frame),
            "described": int(self.frame[_ID].is_in(list(ids)).sum()),
            "columns": {
                name: {"kind": kind, "items": len(self.frame) - self.frame[name].null_count()}
                for name, kind in self.kinds.items()
            },
        }


@dataclass(frozen=True)
class _ItemFile:
    """One file and which of its columns has the ids."""

    table: Table
    id_column: str

    @classmethod
    def open(cls, path: Path, item: str | None) -> "_ItemFile":
        table = formats.open_table(path)
        names = [*([item] if item else []), *formats.ITEM]
        return cls(table, formats.find_column(table, None, names, "say which has the ids with --item NAME"))

    def frame(self, known: Mapping[str, Kind]) -> pl.DataFrame:
        lists = self.table.lists()
        plain = [name for name in self.table.columns if name == self.id_column or name not in lists.columns]
        texts = pl.concat(self.table.batches(plain))
        self._check_ids(texts[self.id_column])
        series = {_ID: texts[self.id_column]}
        for column in self._columns({**texts.to_dict(), **lists.to_dict()}):
            if column.name in series:
                raise InputError(f"{self.table.path} has two columns called {column.name!r}; rename one.")
            series[column.name] = self._values(column, known.get(column.name))
        if len(series) == 1:
            raise InputError(f"{self.table.path} has ids of items and nothing else; give it more columns.")
        return self._distinct(pl.DataFrame(series)).sort(_ID).rechunk()

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
        for item in once[_ID].filter(once[_ID].is_duplicated()).head(1):
            one, other = first.arg_true().filter(once[_ID] == item)[:2]
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


def _sound(frame: pl.DataFrame) -> bool:
    schema = dict(frame.schema)
    if schema.pop(_ID, None) != pl.String or not schema:
        return False
    whole = all(
        dtype in (pl.String, pl.Float64, pl.List(pl.String))
        or (isinstance(dtype, pl.Array) and dtype.inner == pl.Float32)
        for dtype in schema.values()
    )
    ids = frame[_ID]
    return whole and not ids.null_count() and ids.is_sorted() and ids.n_unique() == len(ids)


def _unlike(ours: pl.Schema, theirs: pl.Schema) -> Iterator[str]:
    """What two tables do not have alike."""
    for name in dict.fromkeys([*ours, *theirs]):
        if name not in theirs:
            yield f"it has no column {name}"
        elif name not in ours:
            yield f"its column {name} is new"
        elif ours[name] != theirs[name]:
            yield f"its column {name} holds {_held(theirs[name])}, not {_held(ours[name])}"


def _held(dtype: pl.DataType) -> str:
    kind = _KINDS[dtype.base_type()]
    return f"{kind}s of {dtype.size}" if isinstance(dtype, pl.Array) else kind


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else " ".join(map(str, value))
    return repr(text if len(text) <= 40 else f"{text[:40]}..")
