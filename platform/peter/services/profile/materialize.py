"""Materialising: the answers of champions for all users, written once so that reading them needs no model."""

from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import chain, groupby, islice
from operator import attrgetter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from sqlalchemy.orm import Session

from peter import faults
from peter.errors import InputError
from peter.progress import Progress
from peter.registry import aliases, erasures, event_logs, models, patches, profiles, runs
from peter.registry.columns import utc_now
from peter.services.crew import ALONE, Crew
from peter.services.event_log.coverage import known_events
from peter.services.forgotten import Forgotten
from peter.services.profile.openings import Openings
from peter.services.profile.profiles import provenance
from peter.services.profile.scoring import Chunk, Scorer, Wanted, chunks, score
from peter.services.running import running
from peter.services.workspace import Address, Workspace


@dataclass(frozen=True)
class _Table:
    """What is asked of one champion."""

    patch: models.Patch
    log: models.EventLog
    known: models.ProfileTable | None  # an earlier table of it that may be gone on from
    chunks: list[Chunk]
    fence: int  # how many users were forgotten before
    covered: int = 0  # events of the log whose items its backbone knows, once they are counted

    @property
    def current(self) -> bool:
        """Whether there is nothing to do."""
        return self.known is not None and self.known.event_log_id == self.log.id


Scores = Iterator[tuple[pa.Table, int]]  # of chunks: the answers, and how many were computed now


def materialize(
    workspace: Workspace,
    names: Sequence[str] | None,
    progress: Progress,
    incremental: bool = False,
    crew: Crew = ALONE,
) -> dict[str, Any]:
    """Write the answers of the champions of all (or the named) tasks, one Parquet object a task.

    Args:
        incremental: compute only the answers that may have changed: those of champions without a table, and
            those for users with events since. A champion whose table is of the newest events keeps it.
        crew: who computes; the answers are the same, whoever does.

    Returns:
        `{tables: [{task, version, backbone, as_of, sensitive, event_log, events, features, known, users,
        computed, sha256}]}`; `known` of the log's events are of items that the backbone knows, if it
        knows them by `features` also of items that came after it.

    Raises:
        UnknownName: no such task, or it has no champion.
        InputError: no task has one, or everybody in a log was forgotten.
        Busy: a user is being forgotten, or was meanwhile.
    """
    with workspace.registry.read() as session:
        named = [patches.get(session, name) for name in names or ()]
        champions = named or aliases.require_champions(session)
        tables = profiles.newest(session) if incremental else {}
        asked = [_asked(session, workspace, patch, tables.get(patch.id)) for patch in champions]
    _require_users(asked)
    openings = _opened(workspace, champions)
    asked = _counted(workspace, openings, asked)
    params = {"tasks": [patch.task.name for patch in champions], "incremental": incremental}
    with running(workspace, "score", "profiles", params, "peter profile materialize --incremental") as run:
        with closing(_scores(workspace, openings, asked, crew)) as scores:
            made = [
                _kept(table) if table.current else _make_table(workspace, table, scores, progress)
                for table in asked
            ]
        workspace.registry.write(lambda session: runs.finish(session, run.id, {"tables": len(made)}))
    return {"tables": made}


def _asked(
    session: Session, workspace: Workspace, patch: models.Patch, known: models.ProfileTable | None
) -> _Table:
    log = event_logs.newest(session, patch.backbone.event_log)
    line = {each.id for each in event_logs.lineage(session, log)}
    known = known if known and known.event_log_id in line else None
    wanted = Wanted(patch.id, log.id, known.id if known else None)
    asked = list(chunks(Address.of(workspace), wanted, log.users))
    table = _Table(patch, log, known, asked, erasures.fence(session))
    return replace(table, chunks=[]) if table.current else table


def _opened(workspace: Workspace, champions: Sequence[models.Patch]) -> Openings:
    """Notice a damaged object before anything is begun. Raises CorruptObject."""
    openings = Openings(workspace)
    for patch in champions:
        openings.answerer(patch)
    return openings


def _counted(workspace: Workspace, openings: Openings, asked: Sequence[_Table]) -> list[_Table]:
    """The same, with what each backbone knows of its log."""
    bases = {table.patch.backbone_id: table for table in asked}
    covered = {
        base: known_events(workspace, table.log, table.patch.backbone, openings.base)
        for base, table in bases.items()
    }
    return [replace(table, covered=covered[table.patch.backbone_id]) for table in asked]


def _require_users(asked: Sequence[_Table]) -> None:
    """Raises InputError where there is nobody to answer for."""
    if empty := next((table.log for table in asked if not table.log.users), None):
        raise InputError(
            f"Everybody in {empty.reference} was forgotten; append events of others by `peter data append "
            f"{empty.name} FILE`."
        )


def _scores(
    workspace: Workspace, openings: Openings, asked: Sequence[_Table], crew: Crew
) -> Generator[tuple[pa.Table, int], None, None]:
    """The answers of every chunk that is asked for, in order."""
    todo = list(chain.from_iterable(table.chunks for table in asked))
    if crew.alone or not todo:
        return _scored_here(workspace, openings, todo)
    from peter.distributed.jobs import in_order  # Ray, for those who need it

    return in_order(score, todo, crew.workers, crew.address)


def _scored_here(
    workspace: Workspace, openings: Openings, todo: Sequence[Chunk]
) -> Generator[tuple[pa.Table, int], None, None]:
    for wanted, some in groupby(todo, attrgetter("wanted")):
        scorer = Scorer.open(workspace, openings, wanted)
        for chunk in some:
            yield scorer.table(chunk.first, chunk.last)


def _make_table(workspace: Workspace, asked: _Table, scores: Scores, progress: Progress) -> dict[str, Any]:
    as_of, patch, log = utc_now(), asked.patch, asked.log
    with workspace.objects.workspace() as directory:
        path = directory / "answers.parquet"
        with progress.bar(f"score {patch.task.name}", log.users, "users") as bar:
            computed = 0
            for table, fresh in _written(path, islice(scores, len(asked.chunks))):
                bar.advance(len(table))
                computed += fresh
        with Forgotten(asked.fence).keeping(workspace):
            sha256 = workspace.objects.put_file(path)
            faults.reach("profile.materialize:stored")

            def register(session: Session) -> None:
                erasures.require(session, asked.fence)
                row = session.get_one(models.Patch, patch.id)
                profiles.replace(session, row, log, sha256, log.users, as_of, workspace.actor)

            workspace.registry.write(register)
    return _document(asked, as_of, log.users, computed, sha256)


def _written(path: Path, scores: Scores) -> Scores:
    """Write each table to the file, and give it on."""
    writer = None
    try:
        for table, fresh in scores:
            writer = writer or pq.ParquetWriter(path, table.schema, compression="zstd")
            writer.write_table(table)
            yield table, fresh
    finally:
        if writer:
            writer.close()


def _kept(asked: _Table) -> dict[str, Any]:
    assert asked.known is not None  # or it would not be current
    return _document(asked, asked.known.as_of, asked.known.rows, 0, asked.known.sha256)


def _document(asked: _Table, as_of: datetime, users: int, computed: int, sha256: str) -> dict[str, Any]:
    log = {"event_log": asked.log.reference, "events": asked.log.events}
    covered = {"features": bool(asked.patch.backbone.features), "known": asked.covered}
    told = {"users": users, "computed": computed, "sha256": sha256}
    return {"task": asked.patch.task.name, **provenance(asked.patch, as_of), **log, **covered, **told}
