"""Labels: what is known about some users, taken in strictly, because everything learnt rests on it."""

import json
import math
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from hashlib import sha256
from itertools import chain, repeat
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from peter.data import formats
from peter.data.event_log import EventLog
from peter.data.formats import Table
from peter.data.timestamps import TimeUnit, time_format
from peter.errors import InputError, NamesUser

_NAMED = 3  # places that an error names
_COMMON = 20  # values that a report counts


@dataclass(frozen=True)
class LabelTable:
    """Users with their answers, in the order of the file; with times, only events before them may be input.

    A user with several answers has the earliest of their times: nothing after any of them is input.
    """

    users: list[str]
    labels: list[tuple[str, ...]]  # each user's answers, distinct and sorted
    timestamps: list[int] | None
    time_unit: TimeUnit | None
    column: str
    report: dict[str, Any]  # JSON: rows, users, duplicates, empty, distribution of the commonest values
    conflict: str | None = None  # a sentence on rows that cannot both be a user's only answer; not stored

    def without(self, users: Collection[str]) -> "LabelTable":
        """The table as it were if nothing were known of some users, but for the rows that its file had."""
        kept = [at for at, user in enumerate(self.users) if user not in users]
        if len(kept) == len(self.users):
            return self
        labels = [self.labels[at] for at in kept]
        left_out = sum(map(len, self.labels)) - sum(map(len, labels))
        told = {
            "users": len(kept),
            "forgotten": self.report.get("forgotten", 0) + left_out,
            "distribution": _distribution(Counter(chain.from_iterable(labels))),
        }
        times = self.timestamps
        return replace(
            self,
            users=[self.users[at] for at in kept],
            labels=labels,
            timestamps=None if times is None else [times[at] for at in kept],
            report={**self.report, **told},
        )

    @cached_property
    def sha256(self) -> str:
        """Of `encode`: what the table is called, whatever the order of its rows."""
        return sha256(self.encode()).hexdigest()

    @classmethod
    def withheld(cls, column: str, report: dict[str, Any]) -> "LabelTable":
        """Nobody's labels: all that is told here of a table that stayed elsewhere."""
        return cls([], [], None, None, column, report)

    def encode(self) -> bytes:
        """One JSON value a line: the column and unit of time, then the rows in order of user."""
        rows = sorted(zip(self.users, self.labels, self.timestamps or repeat(None), strict=False))
        lines = [{"column": self.column, "time_unit": self.time_unit, "report": self.report}, *rows]
        return "".join(f"{json.dumps(line, ensure_ascii=False)}\n" for line in lines).encode()

    @classmethod
    def decode(cls, data: bytes) -> "LabelTable":
        """The inverse of `encode`, rows in order of user."""
        head, *rows = map(json.loads, data.decode().split("\n")[:-1])
        users, labels, times = map(list, zip(*rows, strict=True)) if rows else ([], [], [])
        timestamps = times if times and times[0] is not None else None
        return cls(users=users, labels=[tuple(each) for each in labels], timestamps=timestamps, **head)


def read_labels(path: Path, column: str | None = None) -> LabelTable:
    """Read `user_id, <label>[, timestamp]`, or one `column` of a wider table.

    Whether a user may have several answers depends on the task kind: see `LabelTable.conflict`.

    Raises:
        InputError: the file is not a proper table, or a value cannot be a label.
    """
    table = formats.open_table(path)
    user = formats.find_column(table, None, formats.USER, "give that name to the one with the user ids")
    time = next((name for name in formats.TIME if name in table.columns and name != column), None)
    label = _label_column(table, column, {user, time})
    columns = [user, label, *([time] if time else [])]
    intake = _Intake(table, columns)
    for number, values in table.rows(columns):
        intake.take(number, values)
    return intake.result()


def match(
    labels: LabelTable, log: EventLog
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], dict[str, int]]:
    """Find the labelled users who have events.

    Returns:
        Their rows in the event log [n], their places in the label table [n], and a report for JSON.

    Raises:
        InputError: most of them have no events, or the times of labels and events cannot be compared.
    """
    if labels.timestamps is not None and labels.time_unit != log.time_unit:
        raise InputError(
            f"Of the {labels.column} labels and the events, one writes times as dates, the other as numbers; "
            "write the labels' times like those of the events."
        )
    rows = log.rows_of(labels.users)
    kept = np.flatnonzero(rows >= 0)
    missing = np.flatnonzero(rows < 0)
    if 2 * len(missing) > len(rows):
        raise NamesUser(
            f"{len(missing)} of the {len(rows)} users with a {labels.column} have no events, "
            f"{labels.users[missing[0]]!r} for one; check that both files write user ids in the same way, "
            "and that the backbone was trained on a version of the log that has them."
        )
    return rows[kept], kept, {"users": len(rows), "without_events": len(missing)}


def _label_column(table: Table, wanted: str | None, others: set[str | None]) -> str:
    candidates = [name for name in table.columns if name not in others]
    if wanted is not None or len(candidates) == 1:
        return formats.find_column(table, wanted, candidates, "choose one with --column NAME")
    raise InputError(
        f"{table.path} has {'several columns that could be' if candidates else 'no column for'} "
        f"the label among {', '.join(candidates or table.columns)}; choose one with --column NAME."
    )


class _Intake:
    """Collects rows and everything that is wrong with them."""

    def __init__(self, table: Table, columns: Sequence[str]) -> None:
        self.table, self.columns = table, columns
        self.distinct: dict[tuple[str, ...], int] = {}  # values of a row -> number of the first such row
        self.first: dict[str, int] = {}  # user -> number of the first row
        self.conflicts: list[tuple[int, int]] = []
        self.rows = self.empty = 0

    def take(self, number: int, values: Sequence[str]) -> None:
        self.rows += 1
        user, label = values[0], values[1]
        if not user:
            raise InputError(
                f"{self._at(number)} has nothing in column {self.columns[0]}; fill it in or remove the row."
            )
        if not label:
            self.empty += 1
            return
        if self.distinct.setdefault(tuple(values), number) == number:
            first = self.first.setdefault(user, number)
            if first != number:
                self.conflicts.append((first, number))

    def result(self) -> LabelTable:
        """The table, if no row was wrong by itself."""
        if not self.first:
            raise InputError(
                f"{self.table.path} has nothing in column {self.columns[1]}; name another with --column NAME."
            )
        self._check_texts()
        earliest, unit = self._times()
        answers: dict[str, set[str]] = {user: set() for user in self.first}
        for user, label, *_ in self.distinct:
            answers[user].add(label)
        counts = Counter(label for labels in answers.values() for label in labels)
        return LabelTable(
            users=list(answers),
            labels=[tuple(sorted(labels)) for labels in answers.values()],
            timestamps=[earliest[user] for user in answers] if earliest else None,
            time_unit=unit,
            column=self.columns[1],
            report={
                "rows": self.rows,
                "users": len(answers),
                "duplicates": self.rows - self.empty - counts.total(),
                "empty": self.empty,
                "distribution": _distribution(counts),
            },
            conflict=self._conflict(),
        )

    def _conflict(self) -> str | None:
        if not self.conflicts:
            return None
        named = ", ".join(f"{first} and {second}" for first, second in self.conflicts[:_NAMED])
        more = len(self.conflicts) - _NAMED
        return (
            f"{self.table.path} says different things about one user in {self.table.unit}s {named}"
            f"{f' and {more} more pairs' if more > 0 else ''}; keep one {self.columns[1]} a user"
        )

    def _check_texts(self) -> None:
        users, labels = ([row[at] for row in self.distinct] for at in (0, 1))
        numbers = list(self.distinct.values())
        for noun, texts in (("user id", users), (self.columns[1], labels)):
            for at in formats.unclean(pl.Series(texts, dtype=pl.String)).arg_true().head(1):
                raise formats.unclean_error(self._at(numbers[at]), noun, texts[at])
        odd = {label for label in set(labels) if _not_finite(label)}
        for label, number in zip(labels, numbers, strict=True):
            if label in odd:
                raise InputError(
                    f"{self._at(number)}: {label!r} in column {self.columns[1]} is not a label; "
                    "leave it empty or remove the row."
                )

    def _times(self) -> tuple[dict[str, int] | None, TimeUnit | None]:
        """Each user's earliest time."""
        if len(self.columns) == 2:
            return None, None
        rows = list(self.distinct.items())
        form = time_format(rows[0][0][2])
        times = form.epochs([values[2] for values, _ in rows])
        for at in times.is_null().arg_true().head(1):
            values, number = rows[at]
            raise InputError(
                f"{self._at(number)}: {values[2]!r} in column {self.columns[2]} is not {form.noun}; "
                "correct it."
            )
        earliest: dict[str, int] = {}
        for (values, _), time in zip(rows, times.to_list(), strict=True):
            earliest[values[0]] = min(time, earliest.get(values[0], time))
        return earliest, form.unit

    def _at(self, number: int) -> str:
        return f"{self.table.path}, {self.table.unit} {number}"


def _distribution(counts: Counter[str]) -> dict[str, int]:
    """The commonest values."""
    return dict(sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))[:_COMMON])


def _not_finite(value: str) -> bool:
    if value.lower() == "null":
        return True
    try:
        return not math.isfinite(float(value))
    except ValueError:
        return False
