"""Event logs: importing the files of what users did, and what there is to know about them."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy.orm import Session

from peter import faults
from peter.progress import Progress
from peter.registry import event_logs, models, names
from peter.services.workspace import Workspace

if TYPE_CHECKING:
    from peter.data.events import ImportedEvents


def import_events(
    workspace: Workspace,
    paths: Sequence[Path],
    name: str,
    user: str | None,
    item: str | None,
    time: str | None,
    min_user_count: int,
    min_item_count: int,
    progress: Progress,
) -> dict[str, Any]:
    """Import files as the next version of an event log; the same events give the version they made before.

    Raises:
        InputError: a file or column cannot be used; nothing was changed.
    """
    from peter.data import events

    names.check("an event log", name)
    with workspace.objects.workspace() as directory:
        made = events.import_events(
            paths, user=user, item=item, time=time, min_user_count=min_user_count,
            min_item_count=min_item_count, work_dir=directory, progress=progress,
        )  # fmt: skip
        faults.reach("data.import:written")
        with workspace.objects.holding():
            return _document(_registered(workspace, name, made))


def _registered(workspace: Workspace, name: str, made: "ImportedEvents") -> models.EventLog:
    put = workspace.objects.put_file
    sha256, users, vocabulary = put(made.sequences), put(made.users), put(made.items)
    faults.reach("data.import:stored")

    def register(session: Session) -> models.EventLog:
        for log in event_logs.every(session):
            known = (log.name, log.sha256, log.users_sha256, log.vocab_sha256)
            if known == (name, sha256, users, vocabulary):
                return log
        row = models.EventLog(
            name=name, sha256=sha256, users_sha256=users, vocab_sha256=vocabulary,
            users=made.users_count, items=made.items_count, events=made.events_count,
            first_at=made.first_at, last_at=made.last_at, time_unit=made.time_unit, report=made.report,
        )  # fmt: skip
        return event_logs.add(session, row, workspace.actor)

    return workspace.registry.write(register)


def list_events(workspace: Workspace) -> dict[str, Any]:
    """`{event_logs: [{name, version, users, items, events, ..}]}`."""
    with workspace.registry.read() as session:
        return {"event_logs": [_document(log) for log in event_logs.every(session)]}


def show_events(workspace: Workspace, reference: str) -> dict[str, Any]:
    """One event log version. Raises UnknownName."""
    with workspace.registry.read() as session:
        return _document(event_logs.get(session, reference))


def _document(log: models.EventLog) -> dict[str, Any]:
    fields = (
        "name", "version", "users", "items", "events", "first_at", "last_at", "time_unit",
        "sha256", "vocab_sha256", "report",
    )  # fmt: skip
    return {field: getattr(log, field) for field in fields}
