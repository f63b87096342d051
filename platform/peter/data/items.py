"""Item table: what is known of items besides their events."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import polars.exceptions

from peter.data.item_columns import Kind
from peter.data.item_file import ID, ItemFile
from peter.data.parquet import write_parquet
from peter.errors import CorruptObject, InputError

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
        return {name: _KINDS[dtype.base_type()] for name, dtype in schema if name != ID}

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
        return cls(ItemFile.open(path, item).frame(known or {}))

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
        """All items of both, as `newer` has them where both do; a column of it that is empty is of any kind.

        Raises:
            InputError: the columns, or what they hold, are not the same.
        """
        empty = {each.name for each in newer.frame if each.null_count() == len(each)}
        given = newer.frame.cast({name: self.frame.schema[name] for name in empty & self.kinds.keys()})
        if odd := list(_unlike(self.frame.schema, given.schema)):
            raise InputError(
                f"The item table is not like the one before: {', '.join(odd)}; give it the same columns, "
                "with the same kinds."
            )
        both = pl.concat([self.frame, given.select(self.frame.columns)])
        return ItemTable(both.unique(ID, keep="last", maintain_order=True).sort(ID))

    def of(self, ids: Sequence[str]) -> pl.DataFrame:
        """[n] rows in the order of `ids`, which are left out; all null where the table has no such item."""
        wanted = pl.DataFrame({ID: ids}, schema={ID: pl.String})
        return wanted.join(self.frame, on=ID, how="left", maintain_order="left").drop(ID)

    def report(self, ids: Sequence[str]) -> dict[str, Any]:
        """JSON: how many items there are, of how many of `ids` anything is known, and what of how many."""
        told = self.frame.filter(pl.any_horizontal(pl.exclude(ID).is_not_null()))
        return {
            "rows": len(self.frame),
            "described": int(told[ID].is_in(list(ids)).sum()),
            "columns": {
                name: {"kind": kind, "items": len(self.frame) - self.frame[name].null_count()}
                for name, kind in self.kinds.items()
            },
        }


def _sound(frame: pl.DataFrame) -> bool:
    schema = dict(frame.schema)
    if schema.pop(ID, None) != pl.String or not schema:
        return False
    whole = all(
        dtype in (pl.String, pl.Float64, pl.List(pl.String))
        or (isinstance(dtype, pl.Array) and dtype.inner == pl.Float32)
        for dtype in schema.values()
    )
    ids = frame[ID]
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
