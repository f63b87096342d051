"""Opening registered event logs."""

from peter.data.event_log import EventLog
from peter.registry import models
from peter.services.workspace import Workspace


def open_log(workspace: Workspace, row: models.EventLog) -> EventLog:
    """The event log behind a row, its arrays mapped into memory. Raises CorruptObject."""
    path = workspace.objects.path
    return EventLog.open(path(row.sha256), path(row.users_sha256), path(row.vocab_sha256))
