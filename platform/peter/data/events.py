"""Import of events: files of who did what when become one event log, in bounded memory."""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from peter.data import formats
from peter.data.event_file import EventFile
from peter.data.event_log import EventLog
from peter.data.fingerprint import Fingerprint
from peter.data.histories import RESERVED
from peter.data.parquet import write_parquet
from peter.data.sequences import Sequences
from peter.data.spool import Ints, Spool
from peter.data.timestamps import TimeUnit
from peter.data.vocabulary import Vocabulary
from peter.errors import InputError
from peter.progress import Progress

_UNITS = {"number": "plain numbers", "us": "dates"}
_RUN = 1 << 21  # events of the base that are copied at a time


@dataclass(frozen=True)
class ImportedEvents:
    """Three files that make an event log, and what is in them."""

    sequences: Path
    users: Path
    items: Path
    users_count: int
    items_count: int  # real items, without the reserved rows
    events_count: int
    first_at: int | None  # in `time_unit`; None: everybody was forgotten
    last_at: int | None
    time_unit: TimeUnit
    report: dict[str, Any]  # JSON: rows read, events dropped by reason, fingerprints of the files


def import_events(
    paths: Sequence[Path],
    *,
    user: str | None = None,
    item: str | None = None,
    time: str | None = None,
    min_user_count: int = 1,
    min_item_count: int = 1,
    work_dir: Path,
    progress: Progress,
    base: EventLog | None = None,
    known: Collection[str] = (),
    forgotten: Callable[[Iterable[str]], Collection[str]] = lambda ids: (),
) -> ImportedEvents:
    """Read events from files into one event log; the same events give the same bytes.

    A user's events are ordered by time; events of one time keep the order of the files. Rare items are
    dropped first, then the users who are rare without them. Users and items of `base`, whose events come
    first, are never dropped as rare, and its items keep their rows.

    Args:
        paths: CSV, TSV, Parquet or RecBole files, all with the same columns.
        user: name of the column, where it is not a usual one (`formats.USER`); also `item`, `time`.
        work_dir: an existing folder for the results; they are as large as 12 bytes an event.
        base: the event log that is appended to.
        known: fingerprints of files whose events `base` was given before; they are left out.
        forgotten: those of some users who are left out, also of `base`; no file at all is then enough.

    Raises:
        InputError: a file cannot be used, or no event is left.
    """
    _check_paths(paths)
    sources = [EventFile.open(path, user, item, time) for path in paths]
    unit = _common_unit(sources, base)
    with Spool(work_dir) as spool:
        if base:
            _spool_base(spool, base)
        fingerprints = _read(spool, sources, known, progress)
        _check_ids(spool, sources)
        gone = spool.user_codes.ids.is_in(list(forgotten(spool.user_codes.ids))).to_numpy()
        kept = _keep(spool, min_user_count, min_item_count, base, gone)
        if base is None and not len(kept.users):
            raise InputError(
                "Only rare items or users are there, or some who were forgotten; "
                "lower --min-item-count or --min-user-count."
            )
        kept.report["files"] = fingerprints
        return _write(spool, kept, unit, work_dir, progress)


def _read(
    spool: Spool, sources: Sequence[EventFile], known: Collection[str], progress: Progress
) -> list[str]:
    """Spool the events of every file that is not `known`; the fingerprints of those files."""
    fingerprints = []
    with progress.bar("reading", unit="events") as bar:
        for source in sources:
            first, fingerprint = len(spool), Fingerprint()
            for batch in source.events(spool, fingerprint):
                spool.append(*(batch[name].to_numpy() for name in ("users", "items", "timestamps")))
                bar.advance(len(batch))
            if fingerprint.hex in known:
                spool.forget_from(first)
                progress.say(f"The events of {source.table.path} are there already; it is left out.")
            else:
                fingerprints.append(fingerprint.hex)
    return fingerprints


def _check_paths(paths: Sequence[Path]) -> None:
    files = [path.resolve() for path in paths]
    for path, file in zip(paths, files, strict=True):
        if files.count(file) > 1:
            raise InputError(f"{path} is given twice; name every file once.")


def _common_unit(sources: Sequence[EventFile], base: EventLog | None) -> TimeUnit:
    unit = base.time_unit if base else sources[0].form.unit
    for source in sources:
        if source.form.unit != unit:
            raise InputError(
                f"{source.table.path} writes times as {_UNITS[source.form.unit]}, the events before it as "
                f"{_UNITS[unit]}; write them all in one way."
            )
    return unit


def _spool_base(spool: Spool, base: EventLog) -> None:
    """Put the events of `base` first, so that its users and items have the first codes, in order."""
    for codes, ids in (
        (spool.user_codes, base.user_ids),
        (spool.item_codes, base.vocabulary.item_ids[RESERVED:]),
    ):
        pl.select(codes.of(pl.lit(pl.Series(ids, dtype=pl.String))))
    for first in range(0, len(base.items), _RUN):
        run = slice(first, first + _RUN)
        at = np.arange(first, first + len(base.items[run]))
        users = np.searchsorted(base.offsets, at, side="right") - 1
        spool.append(users, base.items[run] - RESERVED, base.timestamps[run])


def _check_ids(spool: Spool, sources: Sequence[EventFile]) -> None:
    for column, codes, noun in ((0, spool.user_codes, "user id"), (1, spool.item_codes, "item id")):
        for text in codes.ids.filter(formats.unclean(codes.ids)).head(1):
            places = (source.find(column, text) for source in sources)
            raise formats.unclean_error(next(place for place in places if place), noun, text)


@dataclass(frozen=True)
class _Kept:
    """What stays, by code."""

    users: npt.NDArray[np.uint32]  # [U] codes in the order of their rows
    items: npt.NDArray[np.uint32]  # codes in the order of their rows, the reserved rows left out
    user_counts: npt.NDArray[np.int64]  # events by code
    item_counts: npt.NDArray[np.int64]
    report: dict[str, Any]

    def events(self, spool: Spool) -> Iterator[tuple[Ints, Ints, Ints]]:
        """Runs of events as user rows, item rows, timestamps."""
        user_row = np.full(len(self.user_counts), -1, np.int32)
        user_row[self.users] = np.arange(len(self.users))
        item_row = np.full(len(self.item_counts), -1, np.int32)
        item_row[self.items] = np.arange(len(self.items)) + RESERVED
        for users, items, timestamps in spool.runs():
            users, items = user_row[users], item_row[items]
            keep = (users >= 0) & (items >= 0)
            yield users[keep], items[keep], timestamps[keep]


def _keep(
    spool: Spool,
    min_user_count: int,
    min_item_count: int,
    base: EventLog | None,
    gone: npt.NDArray[np.bool_],
) -> _Kept:
    """Args: gone: by code of user, whether nothing of him may stay."""
    base_users, base_items = (len(base), base.vocabulary.size - RESERVED) if base else (0, 0)
    user_ids, item_ids = spool.user_codes.ids, spool.item_codes.ids
    all_items = _tally((items for _, items in _of_others(spool, gone)), len(item_ids))
    item_stays = (all_items >= min_item_count) | (np.arange(len(item_ids)) < base_items)
    users = _tally((who[item_stays[items]] for who, items in _of_others(spool, gone)), len(user_ids))
    common = int(users.sum())
    users[(users < min_user_count) & (np.arange(len(user_ids)) >= base_users)] = 0
    items = _tally(
        (items[item_stays[items] & (users[who] > 0)] for who, items, _ in spool.runs()), len(item_ids)
    )
    left = int(all_items.sum())
    dropped = {"rare item": left - common, "rare user": common - int(users.sum())}
    if gone.any():
        dropped["forgotten"] = len(spool) - left
    report = {"rows": len(spool) - (len(base.items) if base else 0), "dropped": dropped}
    return _Kept(_user_order(user_ids, users), _item_order(item_ids, items, base_items), users, items, report)


def _tally(runs: Iterator[Ints], size: int) -> npt.NDArray[np.int64]:
    counts = np.zeros(size, np.int64)
    for codes in runs:
        counts += np.bincount(codes, minlength=size)
    return counts


def _of_others(spool: Spool, gone: npt.NDArray[np.bool_]) -> Iterator[tuple[Ints, Ints]]:
    """Users and items of the events that may stay; as they are where nobody is gone, which is the usual."""
    anybody = gone.any()
    for who, items, _ in spool.runs():
        stays = ~gone[who] if anybody else slice(None)
        yield who[stays], items[stays]


def _user_order(ids: pl.Series, counts: npt.NDArray[np.int64]) -> npt.NDArray[np.uint32]:
    known = pl.DataFrame({"id": ids, "count": counts}).with_row_index("code")
    return known.filter(pl.col("count") > 0).sort("id")["code"].to_numpy()


def _item_order(ids: pl.Series, counts: npt.NDArray[np.int64], fixed: int) -> npt.NDArray[np.uint32]:
    """The first `fixed` codes as they are, then by falling count and id."""
    known = pl.DataFrame({"id": ids, "count": counts}).with_row_index("code")
    known = known.filter((pl.col("count") > 0) | (pl.col("code") < fixed))
    order = [pl.min_horizontal("code", pl.lit(fixed)), -pl.col("count"), pl.col("id")]
    return known.sort(order)["code"].to_numpy()


def _write(spool: Spool, kept: _Kept, unit: TimeUnit, work_dir: Path, progress: Progress) -> ImportedEvents:
    counts = kept.user_counts[kept.users]
    events = int(counts.sum())
    names = ("sequences.safetensors", "users.parquet", "items.parquet")
    path, users_path, items_path = (work_dir / name for name in names)
    sequences = Sequences.create(path, counts, unit)
    with progress.bar("ordering", total=2 * events, unit="events") as bar:
        for amount in sequences.fill(kept.events(spool)):
            bar.advance(amount)
        for amount in sequences.sort():
            bar.advance(amount)
    write_parquet(pl.DataFrame({"user_id": spool.user_codes.ids[kept.users]}), users_path)
    Vocabulary.of(spool.item_codes.ids[kept.items], kept.item_counts[kept.items]).save(items_path)
    return ImportedEvents(
        sequences=path,
        users=users_path,
        items=items_path,
        users_count=len(kept.users),
        items_count=len(kept.items),
        events_count=events,
        first_at=int(sequences.timestamps.min()) if events else None,
        last_at=int(sequences.timestamps.max()) if events else None,
        time_unit=unit,
        report=kept.report,
    )
