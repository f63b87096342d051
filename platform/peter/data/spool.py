"""Spool: the events of an import as numbers, in file order, on disk because they may not fit in memory."""

from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import polars as pl

Ints = npt.NDArray[np.integer[Any]]
_COLUMNS = {"users": np.uint32, "items": np.uint32, "timestamps": np.int64}
_RUN = 1 << 21  # events read back at a time


class Codes:
    """Numbers for ids, 0, 1, .. in the order in which they come."""

    def __init__(self) -> None:
        self._categories = pl.Categories.random()
        self._kind = pl.Categorical(self._categories)
        self._anchor = pl.Series([], dtype=self._kind)  # polars forgets categories that no column has

    def of(self, text: pl.Expr) -> pl.Expr:
        """Ids as uint32 codes."""
        return text.cast(self._kind).to_physical()

    @property
    def ids(self) -> pl.Series:
        """Every id by its code."""
        return self._categories.to_series()


class Spool:
    """Three raw arrays in a folder; a context, at whose end they are deleted."""

    def __init__(self, folder: Path) -> None:
        self.user_codes, self.item_codes = Codes(), Codes()
        self._paths = {name: folder / f"{name}.spool" for name in _COLUMNS}
        self._events = 0

    def __enter__(self) -> Self:
        self._files = {name: path.open("wb") for name, path in self._paths.items()}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for name, path in self._paths.items():
            self._files[name].close()
            path.unlink()

    def __len__(self) -> int:
        return self._events

    def append(self, users: Ints, items: Ints, timestamps: Ints) -> None:
        """More events."""
        for (name, kind), values in zip(_COLUMNS.items(), (users, items, timestamps), strict=True):
            self._files[name].write(np.ascontiguousarray(values, kind).data)
        self._events += len(users)

    def forget_from(self, event: int) -> None:
        """Keep only the first `event` events; the codes of ids stay given."""
        for kind, file in zip(_COLUMNS.values(), self._files.values(), strict=True):
            file.truncate(file.seek(event * np.dtype(kind).itemsize))
        self._events = event

    def runs(self) -> Iterator[tuple[Ints, Ints, Ints]]:
        """All events in order, a bounded number at a time: user codes, item codes, timestamps."""
        for file in self._files.values():
            file.flush()
        for first in range(0, self._events, _RUN):
            count = min(_RUN, self._events - first)
            users, items, timestamps = (
                np.fromfile(path, kind, count, offset=first * np.dtype(kind).itemsize)
                for path, kind in zip(self._paths.values(), _COLUMNS.values(), strict=True)
            )
            yield users, items, timestamps
