"""A file of events: which of its columns matter, what they hold, and where a fault stands."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import NoReturn

import polars as pl

from peter.data import formats
from peter.data.fingerprint import Fingerprint
from peter.data.formats import Table
from peter.data.spool import Spool
from peter.data.timestamps import TimeFormat, time_format
from peter.errors import InputError

_FLAG = "name the right one with --{} NAME"


@dataclass(frozen=True)
class EventFile:
    """One file and the columns of it that matter: user, item, time."""

    table: Table
    columns: tuple[str, str, str]
    form: TimeFormat

    @classmethod
    def open(cls, path: Path, user: str | None, item: str | None, time: str | None) -> "EventFile":
        """Find the columns, by their usual names where none is given. Raises InputError."""
        table = formats.open_table(path)
        columns = (
            formats.find_column(table, user, formats.USER, _FLAG.format("user")),
            formats.find_column(table, item, formats.ITEM, _FLAG.format("item")),
            formats.find_column(table, time, formats.TIME, _FLAG.format("time")),
        )
        for name in columns:
            if columns.count(name) > 1:
                raise InputError(
                    f"{path}: column {name} cannot be two of user, item and time; "
                    "name the right ones with --user, --item and --time."
                )
        _, (*_, sample) = next(iter(table.rows(columns)))
        return cls(table, columns, time_format(sample))

    def events(self, spool: Spool, fingerprint: Fingerprint) -> Iterator[pl.DataFrame]:
        """Batches of user codes, item codes, timestamps; raises for an empty id or a time that is none."""
        user, item, time = map(pl.col, self.columns)
        for batch in self.table.batches(self.columns):
            events = (
                batch.lazy()
                .select(
                    users=spool.user_codes.of(user),
                    items=spool.item_codes.of(item),
                    timestamps=self.form.epoch(time),
                    empty=(user == "") | (item == ""),
                )
                .collect()
            )
            if events["timestamps"].null_count() or events["empty"].any():
                self._blame()
            fingerprint.add(batch[self.columns[0]], batch[self.columns[1]], events["timestamps"])
            yield events

    def _blame(self) -> NoReturn:
        """Find the row at fault again, slowly."""
        rows = iter(self.table.rows(self.columns))
        while run := list(islice(rows, 100_000)):
            times = self.form.epochs([values[2] for _, values in run])
            for (number, values), bad in zip(run, times.is_null(), strict=True):
                if bad or "" in values:
                    raise self._fault(number, values)
        raise AssertionError(f"{self.table.path} reads differently the second time")

    def _fault(self, number: int, values: Sequence[str]) -> InputError:
        where = f"{self.table.path}, {self.table.unit} {number}"
        for name, text in zip(self.columns, values, strict=True):
            if text == "":
                return InputError(f"{where} has nothing in column {name}; fill it in or remove the row.")
        return InputError(
            f"{where}: {values[2]!r} in column {self.columns[2]} is not {self.form.noun}; "
            "correct it or name another column with --time NAME."
        )

    def find(self, column: int, text: str) -> str | None:
        """Where an id first stands."""
        for number, values in self.table.rows(self.columns):
            if values[column] == text:
                return f"{self.table.path}, {self.table.unit} {number}"
        return None
