"""Timestamps: how text becomes a 64-bit number, the same way for events and for labels."""

from dataclasses import dataclass
from itertools import product
from typing import Literal

import polars as pl

TimeUnit = Literal["number", "us"]  # as the file gives it | microseconds since 1970, UTC
_EXACT = 2.0**53  # above, not every whole number is a double
_PATTERNS = (
    "%Y-%m-%d",
    *("".join(parts) for parts in product(["%Y-%m-%dT", "%Y-%m-%d "], ["%H:%M:%S%.f", "%H:%M"], ["", "%#z"])),
)


@dataclass(frozen=True)
class TimeFormat:
    """How one column writes its times; `pattern` None: as plain numbers."""

    pattern: str | None

    @property
    def unit(self) -> TimeUnit:
        return "us" if self.pattern else "number"

    @property
    def noun(self) -> str:
        """What an error says a time should look like."""
        return "a date like the first one" if self.pattern else "a whole number or a date like 2024-12-31"

    def epoch(self, text: pl.Expr) -> pl.Expr:
        """Text as int64 in `unit`; null where it cannot be read. Times without a zone are UTC."""
        if self.pattern:
            return text.str.to_datetime(self.pattern, strict=False, time_unit="us").cast(pl.Int64)
        decimal = text.cast(pl.Float64, strict=False)
        whole = pl.when((decimal == decimal.floor()) & (decimal.abs() < _EXACT)).then(decimal)
        return pl.coalesce(text.cast(pl.Int64, strict=False), whole.cast(pl.Int64, strict=False))

    def epochs(self, texts: list[str]) -> pl.Series:
        """`epoch` of a few values."""
        return pl.select(self.epoch(pl.lit(pl.Series("time", texts, dtype=pl.String)))).to_series()


def time_format(sample: str) -> TimeFormat:
    """The format that reads `sample`, the column's first value; plain numbers where none does."""
    formats = map(TimeFormat, _PATTERNS)
    return next((form for form in formats if form.epochs([sample]).null_count() == 0), TimeFormat(None))
