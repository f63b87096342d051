"""Vocabulary: which row of the item table an item has, and how often it occurs."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl
import polars.exceptions

from peter.data.histories import MASK, PAD, RESERVED, TCL, UNK
from peter.data.parquet import write_parquet
from peter.errors import CorruptObject

RESERVED_NAMES = {PAD: "[PAD]", MASK: "[MASK]", TCL: "[TCL]", UNK: "[UNK]"}
SCHEMA = {"item_id": pl.String, "row": pl.Int32, "count": pl.Int64}


class Vocabulary:
    """Items by row: first the reserved ones, then real items; rows once given never change."""

    def __init__(self, table: pl.DataFrame) -> None:
        self._table = table

    @classmethod
    def load(cls, path: Path) -> "Vocabulary":
        """Read a Parquet table of item_id, row, count.

        Raises:
            CorruptObject: not such a table, or its rows are not 0 .. V-1 in order.
        """
        try:
            table = pl.read_parquet(path, glob=False)
        except (polars.exceptions.PolarsError, OSError) as error:
            raise CorruptObject(
                f"The vocabulary {path} cannot be read ({error}); run `peter verify`."
            ) from error
        rows_in_order = table.schema == SCHEMA and np.array_equal(table["row"], np.arange(len(table)))
        if not rows_in_order or len(table) < RESERVED or sum(table.null_count().row(0)):
            raise CorruptObject(f"{path} is not a vocabulary that peter wrote; run `peter verify`.")
        return cls(table)

    @classmethod
    def of(cls, item_ids: Sequence[str] | pl.Series, counts: npt.NDArray[np.int64]) -> "Vocabulary":
        """Real items in the order of their rows, with their counts; the reserved rows are put in front."""
        ids = [*RESERVED_NAMES.values(), *item_ids]
        data = {"item_id": ids, "row": range(len(ids)), "count": [0] * RESERVED + counts.tolist()}
        return cls(pl.DataFrame(data, schema=SCHEMA))

    def save(self, path: Path) -> None:
        """Write the Parquet table; the same vocabulary gives the same bytes."""
        write_parquet(self._table, path)

    @property
    def size(self) -> int:
        """V, rows of the item table, the reserved ones included."""
        return len(self._table)

    @cached_property
    def counts(self) -> npt.NDArray[np.int64]:
        """[V] events an item has in the log; 0 for the reserved rows."""
        return self._table["count"].to_numpy()

    @property
    def item_ids(self) -> list[str]:
        """[V] ids by row."""
        return self._table["item_id"].to_list()

    def rows(self, ids: Sequence[str] | pl.Series) -> npt.NDArray[np.int64]:
        """[n] rows of items; UNK for an item that the log does not hold."""
        wanted = pl.DataFrame({"item_id": ids}, schema={"item_id": pl.String})
        found = wanted.join(self._table[RESERVED:], on="item_id", how="left", maintain_order="left")
        return found["row"].fill_null(UNK).cast(pl.Int64).to_numpy()
