"""Event logs: importing and appending the files of what users did, and what there is to know about them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy.orm import Session

from peter import faults
from peter.errors import InputError
from peter.progress import Progress
from peter.registry import erasures, event_logs, models, names, references
from peter.services.event_log.coverage import coverage
from peter.services.forgotten import Forgotten
from peter.services.workspace import Workspace

if TYPE_CHECKING:
    from peter.data.events import ImportedEvents
    from peter.data.items import ItemTable


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
    items: Path | None = None,
) -> dict[str, Any]:
    """Import files as the next version of an event log; the same data gives the version it made before.

    Args:
        items: a table of what is known of items besides their events.

    Raises:
        InputError: a file or column cannot be used; nothing was changed.
    """
    from peter.data import events
    from peter.services.event_log import item_tables

    names.check("an event log", name)
    forgotten = Forgotten.of(workspace)
    table = item_tables.taken(workspace, None, items, item)
    read = partial(
        events.import_events, paths, user=user, item=item, time=time, min_user_count=min_user_count,
        min_item_count=min_item_count, progress=progress, forgotten=forgotten.among,
    )  # fmt: skip
    made = _make_version(workspace, "import", name, None, read, forgotten, table)
    assert made is not None  # nothing can come before an import
    return show_events(workspace, made.reference)


def append_events(
    workspace: Workspace,
    name: str,
    paths: Sequence[Path],
    user: str | None,
    item: str | None,
    time: str | None,
    progress: Progress,
    items: Path | None = None,
) -> dict[str, Any]:
    """Make the next version of an event log: all that its newest version holds, and what files say.

    Rows of items stay what they are. A file whose events came into the log before, by an import or by an
    append, is left out; where nothing new is given, the newest version is the answer. Of the items in a
    table `items` is known what that says, of others what was known of them before.

    Raises:
        UnknownName: no such event log.
        InputError: a file or column cannot be used; nothing was changed.
    """
    from peter.data import events
    from peter.services.event_log import item_tables
    from peter.services.logs import open_log

    _require_no_version(name)
    if not paths and items is None:
        raise InputError("Nothing to append; give files of events, or a table of items with --items FILE.")
    made = None
    while made is None:  # another program appended meanwhile: read its version, and append to that
        forgotten = Forgotten.of(workspace)
        with workspace.registry.read() as session:
            base = event_logs.get(session, name)
            line = event_logs.lineage(session, base)
        known = {file for log in line for file in log.report.get("files", ())}  # old imports have none
        table = item_tables.taken(workspace, base, items, item)
        read = partial(
            events.import_events, paths, user=user, item=item, time=time, progress=progress,
            base=open_log(workspace, base), known=known, forgotten=forgotten.among,
        )  # fmt: skip
        made = _make_version(workspace, "append", name, base, read, forgotten, table)
    return show_events(workspace, made.reference)


def _require_no_version(name: str) -> None:
    wanted = references.parse(name)
    if str(wanted) != wanted.name:
        raise InputError(
            f"Events are appended to the newest version, not to {name}; give the name alone, {wanted.name}."
        )


def _make_version(
    workspace: Workspace,
    verb: str,
    name: str,
    base: models.EventLog | None,
    read: Callable[..., "ImportedEvents"],
    forgotten: Forgotten,
    table: "ItemTable | None",
) -> models.EventLog | None:
    """Read files in a folder for the time being, store what they become and register it.

    Returns:
        None: `base` is the newest version no longer, so that what another appended would be lost.

    Raises:
        Busy: somebody was forgotten since `forgotten` was asked for.
    """
    from peter.services.event_log import item_tables

    with workspace.objects.workspace() as directory:
        made, known_of_items = read(work_dir=directory), None
        if table is not None:
            known_of_items, told = item_tables.save(table, made.items, directory)
            made = replace(made, report={**made.report, "items": told})
        files = {
            "sha256": made.sequences,
            "users_sha256": made.users,
            "vocab_sha256": made.items,
            "items_sha256": known_of_items,
        }
        faults.reach(f"data.{verb}:written")
        with forgotten.keeping(workspace):
            put = workspace.objects.put_file
            objects = {column: put(path) if path else None for column, path in files.items()}
            faults.reach(f"data.{verb}:stored")
            row = workspace.registry.write(
                lambda session: _registered(session, name, base, made, objects, workspace.actor, forgotten)
            )
    faults.reach(f"data.{verb}:registered")
    return row


def _registered(
    session: Session,
    name: str,
    base: models.EventLog | None,
    made: "ImportedEvents",
    objects: Mapping[str, Any],
    actor: str,
    forgotten: Forgotten,
) -> models.EventLog | None:
    erasures.require(session, forgotten.fence)
    if base and event_logs.hold(session, name).id != base.id:
        return None
    for log in [base] if base else event_logs.every(session):
        same = (getattr(log, column) == sha256 for column, sha256 in objects.items())
        if log.name == name and all(same):
            return log
    row = models.EventLog(
        name=name, **objects, users=made.users_count, items=made.items_count, events=made.events_count,
        first_at=made.first_at, last_at=made.last_at, time_unit=made.time_unit, report=made.report,
        parent_id=base.id if base else None,
    )  # fmt: skip
    return event_logs.add(session, row, actor)


def list_events(workspace: Workspace) -> dict[str, Any]:
    """`{event_logs: [{name, version, parent, users, items, events, ..}]}`."""
    with workspace.registry.read() as session:
        return {"event_logs": [_document(session, log) for log in event_logs.every(session)]}


def show_events(workspace: Workspace, reference: str) -> dict[str, Any]:
    """One event log version; `parent` is the version that it was appended to.

    `coverage`: as `coverage` gives it, how many of its events those know by whom tasks answer from it.

    Raises:
        UnknownName: no such event log.
    """
    with workspace.registry.read() as session:
        log = event_logs.get(session, reference)
        document = _document(session, log)
    return {**document, "coverage": coverage(workspace, log)}


def _document(session: Session, log: models.EventLog) -> dict[str, Any]:
    parent = session.get_one(models.EventLog, log.parent_id).reference if log.parent_id else None
    fields = (
        "users", "items", "events", "first_at", "last_at", "time_unit", "sha256", "vocab_sha256",
        "items_sha256", "report",
    )  # fmt: skip
    return {
        "name": log.name,
        "version": log.version,
        "parent": parent,
        **{field: getattr(log, field) for field in fields},
    }
