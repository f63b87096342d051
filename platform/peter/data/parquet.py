"""Parquet files as tables of text: whole numbers without a decimal point, times as ISO text in UTC."""

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl
import polars.exceptions

from peter.errors import InputError

_ROWS = 1 << 20  # a batch
_EXACT = 2.0**53  # above, not every whole number is a double


@dataclass(frozen=True)
class ParquetTable:
    """One Parquet file. Null, NaN and "" are all a missing value."""

    path: Path
    unit: str = "row"
    schema: pl.Schema = field(init=False)

    def __post_init__(self) -> None:
        with self._readable():
            frame = pl.scan_parquet(self.path, glob=False)
            object.__setattr__(self, "schema", frame.collect_schema())
            rows = frame.select(pl.len()).collect().item()
        if rows == 0:
            raise InputError(f"{self.path} holds no rows; give a file with some.")

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(self.schema.names())

    @property
    def header(self) -> tuple[str, ...]:
        return self.columns

    def batches(self, columns: Sequence[str]) -> Iterator[pl.DataFrame]:
        """Some columns as String, in file order."""
        texts = [self._text(name).fill_null("").alias(name) for name in columns]
        frame = pl.scan_parquet(self.path, glob=False).select(texts)
        with self._readable():
            yield from frame.collect_batches(chunk_size=_ROWS, maintain_order=True, engine="streaming")

    def rows(self, columns: Sequence[str]) -> Iterator[tuple[int, Sequence[str]]]:
        """The same values one row at a time, with row numbers from 1."""
        row = 0
        for batch in self.batches(columns):
            for values in batch.iter_rows():
                row += 1
                yield row, values

    def lists(self) -> pl.DataFrame:
        """All columns that hold a list in each row, as List."""
        kinds = {name: kind for name, kind in self.schema.items() if isinstance(kind, pl.List | pl.Array)}
        columns = [pl.col(name).cast(pl.List(kind.inner)) for name, kind in kinds.items()]
        with self._readable():
            return pl.scan_parquet(self.path, glob=False).select(columns).collect()

    @contextmanager
    def _readable(self) -> Iterator[None]:
        try:
            yield
        except polars.exceptions.PolarsError as error:
            reason = str(error).partition("\n")[0]
            raise InputError(f"{self.path} is no sound Parquet file ({reason}); write it again.") from error

    def _text(self, name: str) -> pl.Expr:
        column, kind = pl.col(name), self.schema[name]
        if kind.is_float():
            return _decimal(column.cast(pl.Float64))
        if isinstance(kind, pl.Date | pl.Datetime):
            return _time(column, kind)
        if kind.is_numeric() or kind in (pl.String, pl.Categorical, pl.Enum, pl.Boolean, pl.Null):
            return column.cast(pl.String)
        raise InputError(
            f"{self.path} holds {kind} in column {name}; write it again as text, numbers or timestamps."
        )


def _decimal(column: pl.Expr) -> pl.Expr:
    whole = (column == column.floor()) & (column.abs() < _EXACT)
    digits = column.cast(pl.Int64, strict=False).cast(pl.String)
    return pl.when(whole).then(digits).when(column.is_not_nan()).then(column.cast(pl.String))


def _time(column: pl.Expr, kind: pl.Date | pl.Datetime) -> pl.Expr:
    if isinstance(kind, pl.Datetime) and kind.time_zone:
        column = column.dt.convert_time_zone("UTC").dt.replace_time_zone(None)
    return column.cast(pl.Datetime("us")).dt.strftime("%Y-%m-%dT%H:%M:%S%.6f")


def write_parquet(table: pl.DataFrame, path: Path) -> None:
    """Write a table as Polars does, but fail as Python does: a full disk is no error of the computation's."""
    encoded = io.BytesIO()
    table.write_parquet(encoded)
    path.write_bytes(encoded.getbuffer())
