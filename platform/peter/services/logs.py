"""Opening registered event logs, and what is known of their items."""

from peter.data.event_log import EventLog
from peter.data.items import ItemTable
from peter.registry import event_logs, models
from peter.services.workspace import Workspace


def open_log(workspace: Workspace, row: models.EventLog) -> EventLog:
    """The event log behind a row, its arrays mapped into memory. Raises CorruptObject."""
    path = workspace.objects.path
    return EventLog.open(path(row.sha256), path(row.users_sha256), path(row.vocab_sha256))


def open_items(workspace: Workspace, row: models.EventLog) -> ItemTable | None:
    """What is known of the items of a log; None: it has no such table. Raises CorruptObject."""
    return ItemTable.load(workspace.objects.path(row.items_sha256)) if row.items_sha256 else None


def newest_log(workspace: Workspace, row: models.EventLog) -> models.EventLog:
    """The version of an event log that has all that was appended to `row` since."""
    with workspace.registry.read() as session:
        return event_logs.newest(session, row)
