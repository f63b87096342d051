"""Scoring: a champion's answers for the users of an event log, some thousands at a time, in any process."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property, lru_cache

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from peter.data.event_log import EventLog
from peter.registry import models
from peter.services.logs import open_log
from peter.services.profile.answers import Answerer
from peter.services.profile.openings import Openings
from peter.services.workspace import Address, Workspace

USERS = 16_384  # a chunk; memory does not grow with the log


@dataclass(frozen=True)
class Wanted:
    """Which answers, by the ids of the registry's rows."""

    patch: int
    log: int
    table: int | None = None  # an earlier one of the patch: it holds where nothing happened since


@dataclass(frozen=True)
class Chunk:
    """The users first..last of a log; it travels to whichever process scores them."""

    address: Address
    wanted: Wanted
    first: int
    last: int


@dataclass(frozen=True)
class Before:
    """The answers of an earlier table, and the log that they are of."""

    log: EventLog
    file: pq.ParquetFile

    @classmethod
    def open(cls, workspace: Workspace, table: models.ProfileTable, log: models.EventLog) -> "Before | None":
        """None where they do not hold for `log`: something else is known of items, or a column is lacking.

        Raises:
            CorruptObject: it is damaged.
        """
        file = pq.ParquetFile(workspace.objects.path(table.sha256), memory_map=True)
        if "known" not in file.schema_arrow.names or table.event_log.items_sha256 != log.items_sha256:
            return None
        return cls(open_log(workspace, table.event_log), file)

    @cached_property
    def _ends(self) -> npt.NDArray[np.int64]:
        """[G] where each of the file's row groups ends."""
        groups = self.file.metadata
        return np.cumsum([groups.row_group(at).num_rows for at in range(groups.num_row_groups)])

    def rows(self, log: EventLog, first: int, last: int) -> npt.NDArray[np.int64]:
        """[B] the earlier row of each user first..last of `log`; -1 for who has new events.

        Appending only adds events: who has as many as before has the same.
        """
        rows = self.log.rows_of(log.user_ids[first:last])
        before = np.where(rows >= 0, self.log.lengths[rows], -1)
        return np.where(before == log.lengths[first:last], rows, -1)

    def answers(self, rows: npt.NDArray[np.int64]) -> pa.Table:
        """The answers at rows [n] that rise; only their part of the file is read."""
        groups = np.unique(np.searchsorted(self._ends, rows, side="right"))
        start = self._ends[groups[0] - 1] if groups[0] else 0
        part = self.file.read_row_groups(list(range(groups[0], groups[-1] + 1)))
        return part.take(pa.array(rows - start))


@dataclass(frozen=True)
class Scorer:
    """A patch version ready to answer for the users of a log, by their rows."""

    answerer: Answerer
    log: EventLog
    before: Before | None

    @classmethod
    def open(cls, workspace: Workspace, openings: Openings, wanted: Wanted) -> "Scorer":
        """Raises CorruptObject."""
        with workspace.registry.read() as session:
            patch = session.get_one(models.Patch, wanted.patch)
            log = session.get_one(models.EventLog, wanted.log)
            table = session.get_one(models.ProfileTable, wanted.table) if wanted.table else None
        before = Before.open(workspace, table, log) if table else None
        answerer = openings.answerer(patch)
        return cls(answerer, answerer.reading(openings.log(log)), before)

    def table(self, first: int, last: int) -> tuple[pa.Table, int]:
        """The answers for users first..last, and for how many of them they were computed now."""
        rows = np.arange(first, last)
        kept = self.before.rows(self.log, first, last) if self.before else np.full(len(rows), -1)
        fresh = rows[kept < 0]
        parts = []
        if len(fresh):
            parts.append(self.answerer.table(self.log, fresh, [self.log.user_ids[row] for row in fresh]))
        if self.before and len(fresh) < len(rows):
            parts.append(self.before.answers(kept[kept >= 0]))
        places = np.concatenate([np.flatnonzero(kept < 0), np.flatnonzero(kept >= 0)])
        return pa.concat_tables(parts).take(pa.array(np.argsort(places))), len(fresh)


def chunks(address: Address, wanted: Wanted, users: int) -> Iterator[Chunk]:
    """All users of a log, in order."""
    for first in range(0, users, USERS):
        yield Chunk(address, wanted, first, min(first + USERS, users))


def score(chunk: Chunk) -> tuple[pa.Table, int]:
    """As `Scorer.table`, in a process that keeps what it opened for the chunks to come."""
    return _scorer(chunk.address, chunk.wanted).table(chunk.first, chunk.last)


@lru_cache(maxsize=1)
def _scorer(address: Address, wanted: Wanted) -> Scorer:
    return Scorer.open(address.open(), _openings(address), wanted)


@cache
def _openings(address: Address) -> Openings:
    return Openings(address.open())
