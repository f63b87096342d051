"""What is stored of one user, and the same without them: event logs, label sets, tables of answers."""

from collections.abc import Iterator
from typing import Any

import pyarrow.parquet as pq

from peter.data.events import import_events
from peter.data.labels import LabelTable
from peter.progress import Silent
from peter.registry import event_logs, models, profiles, tasks
from peter.services.logs import open_log
from peter.services.task.tasks import label_set_of
from peter.services.workspace import Workspace

Places = list[models.EventLog | models.LabelSet | models.ProfileTable]


def places(workspace: Workspace, user: str) -> Places:
    """The rows whose objects hold a user."""
    return [
        *logs_with(workspace, user),
        *(row for row, _ in labels_with(workspace, user)),
        *tables_with(workspace, user),
    ]


def logs_with(workspace: Workspace, user: str) -> Iterator[models.EventLog]:
    """The versions of event logs that hold events of a user."""
    with workspace.registry.read() as session:
        rows = event_logs.every(session)
    return (row for row in rows if _in_parquet(workspace, row.users_sha256, user))


def labels_with(workspace: Workspace, user: str) -> Iterator[tuple[models.LabelSet, LabelTable]]:
    """The label sets that say something of a user, with what is in them."""
    with workspace.registry.read() as session:
        rows = tasks.label_sets(session)
    for row in rows:
        table = LabelTable.decode(workspace.objects.read(row.sha256))
        if user in table.users:
            yield row, table


def tables_with(workspace: Workspace, user: str) -> Iterator[models.ProfileTable]:
    """The tables that answer for a user."""
    with workspace.registry.read() as session:
        rows = profiles.every(session)
    return (row for row in rows if _in_parquet(workspace, row.sha256, user))


def log_without(workspace: Workspace, row: models.EventLog, user: str) -> models.EventLog:
    """Store a version of an event log as an append of nothing would leave it without the user; not a row."""
    with workspace.objects.workspace() as directory:
        made = import_events(
            [],
            base=open_log(workspace, row),
            forgotten=lambda ids: {user},
            work_dir=directory,
            progress=Silent(),
        )
        sequences, users, items = (
            workspace.objects.put_file(path) for path in (made.sequences, made.users, made.items)
        )
    before: dict[str, int] = row.report.get("forgotten", {"users": 0, "events": 0})
    gone = {"users": before["users"] + 1, "events": before["events"] + row.events - made.events_count}
    return models.EventLog(
        name=row.name, sha256=sequences, users_sha256=users, vocab_sha256=items, users=made.users_count,
        items=row.items, events=made.events_count, first_at=made.first_at, last_at=made.last_at,
        time_unit=row.time_unit, report={**row.report, "forgotten": gone},
    )  # fmt: skip


def labels_without(
    workspace: Workspace, row: models.LabelSet, table: LabelTable, user: str
) -> models.LabelSet:
    """Store a label set without the user; not a row."""
    rest = table.without({user})
    sha256 = workspace.objects.put_bytes(rest.encode())
    return label_set_of(rest, row.task, sha256, {**row.report, **rest.report})


def table_without(workspace: Workspace, row: models.ProfileTable, user: str) -> str:
    """Store a table of answers without the user; its object's name. The others keep their order."""
    import pyarrow.compute as pc

    source = pq.ParquetFile(workspace.objects.path(row.sha256))
    with workspace.objects.workspace() as directory:
        path = directory / "answers.parquet"
        with pq.ParquetWriter(path, source.schema_arrow, compression="zstd") as writer:
            for at in range(source.num_row_groups):
                part = source.read_row_group(at)
                writer.write_table(part.filter(pc.field("user_id") != user))
        return workspace.objects.put_file(path)


def _in_parquet(workspace: Workspace, sha256: str, user: str) -> Any:
    filters = [("user_id", "=", user)]
    found = pq.read_table(workspace.objects.path(sha256), columns=["user_id"], filters=filters)
    return found.num_rows > 0
