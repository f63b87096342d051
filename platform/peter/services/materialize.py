"""Materialising: the answers of champions for all users, written once so that reading them needs no model."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from sqlalchemy.orm import Session

from peter import faults
from peter.data.event_log import EventLog
from peter.progress import Progress
from peter.registry import aliases, models, patches, profiles, runs
from peter.registry.columns import utc_now
from peter.services.answers import Answerer
from peter.services.profiles import opened, provenance
from peter.services.running import running
from peter.services.workspace import Workspace


def materialize(workspace: Workspace, names: Sequence[str] | None, progress: Progress) -> dict[str, Any]:
    """Write the answers of the champions of all (or the named) tasks, one Parquet object a task.

    Returns:
        `{tables: [{task, version, backbone, as_of, users, sha256}]}`.

    Raises:
        UnknownName: no such task, or it has no champion.
        InputError: no task has one.
    """
    with workspace.registry.read() as session:
        named = [patches.get(session, name) for name in names or ()]
        champions = named or aliases.require_champions(session)
    ready = list(opened(workspace, champions))  # a damaged object is noticed before anything is begun
    params = {"tasks": [patch.task.name for patch in champions]}
    with running(workspace, "score", "profiles", params, "peter profile materialize") as run:
        tables = [_table(workspace, *each, progress) for each in ready]
        workspace.registry.write(lambda session: runs.finish(session, run.id, {"tables": len(tables)}))
    return {"tables": tables}


def _table(
    workspace: Workspace,
    patch: models.Patch,
    answerer: Answerer,
    scored: models.EventLog,
    log: EventLog,
    progress: Progress,
) -> dict[str, Any]:
    as_of = utc_now()
    with workspace.objects.workspace() as directory:
        path = directory / "answers.parquet"
        _stream(path, answerer, log, progress, patch.task.name)
        with workspace.objects.holding():
            sha256 = workspace.objects.put_file(path)
            faults.reach("profile.materialize:stored")

            def register(session: Session) -> None:
                row = session.get_one(models.Patch, patch.id)
                profiles.replace(session, row, scored, sha256, len(log), as_of, workspace.actor)

            workspace.registry.write(register)
    return {"task": patch.task.name, **provenance(patch, as_of), "users": len(log), "sha256": sha256}


def _stream(path: Path, answerer: Answerer, log: EventLog, progress: Progress, name: str) -> None:
    writer = None
    try:
        with progress.bar(f"score {name}", len(log), "users") as bar:
            for table in answerer.tables(log):
                writer = writer or pq.ParquetWriter(path, table.schema, compression="zstd")
                writer.write_table(table)
                bar.advance(len(table))
    finally:
        if writer:
            writer.close()
