"""Profiles: every champion's answer for a user, read from the materialised tables or computed now."""

from collections.abc import Container, Iterator, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from peter.errors import InputError
from peter.registry import aliases, event_logs, models, profiles
from peter.registry.columns import utc_now
from peter.services.workspace import Workspace

if TYPE_CHECKING:
    from peter.data.event_log import EventLog
    from peter.services.answers import Answerer

Rows = list[dict[str, Any]]


def get(workspace: Workspace, users: list[str], live: bool) -> dict[str, Any]:
    """`{users: [{user_id, events, tasks: {gender: {value, probability, version, ..}}}]}`.

    Args:
        live: compute everything now; otherwise only what was not materialised for the present champion,
            and users who came to the event log after that.

    Raises:
        InputError: no task answers yet, or a user has no events that any champion reads.
    """
    with workspace.registry.read() as session:
        champions = aliases.require_champions(session)
        tables = {} if live else profiles.newest(session)
        complete = {
            patch_id
            for patch_id, table in tables.items()
            if event_logs.newest(session, table.event_log).id == table.event_log_id
        }
    answers: dict[str, dict[str, Any]] = {user: {} for user in users}
    for patch, rows, as_of in _answers(workspace, champions, tables, complete, users):
        for row in rows:
            user = row.pop("user_id")
            answers[user][patch.task.name] = {**row, **provenance(patch, as_of)}
    return {"users": [_card(user, found) for user, found in answers.items()]}


def provenance(patch: models.Patch, as_of: datetime) -> dict[str, Any]:
    """Where an answer comes from."""
    return {
        "version": patch.version,
        "backbone": patch.backbone.reference,
        "as_of": as_of.isoformat(timespec="seconds"),
    }


def _answers(
    workspace: Workspace,
    champions: list[models.Patch],
    tables: dict[int, models.ProfileTable],
    complete: Container[int],
    users: list[str],
) -> Iterator[tuple[models.Patch, Rows, datetime]]:
    """Each champion's rows for those users that it can answer for, and the time they are of."""
    import pyarrow.parquet as pq

    missing: dict[int, list[str]] = {}  # by patch, users that its table lacks and its log may hold
    for patch in champions:
        stored: set[str] = set()
        if table := tables.get(patch.id):
            path = workspace.objects.path(table.sha256)
            rows = pq.read_table(path, filters=[("user_id", "in", users)]).to_pylist()
            stored.update(row["user_id"] for row in rows)
            yield patch, rows, table.as_of
        left = [user for user in users if user not in stored]
        if left and patch.id not in complete:
            missing[patch.id] = left
    if missing:
        yield from _live(workspace, [patch for patch in champions if patch.id in missing], missing)


def _live(
    workspace: Workspace, champions: list[models.Patch], wanted: Mapping[int, list[str]]
) -> Iterator[tuple[models.Patch, Rows, datetime]]:
    for patch, answerer, _, log in opened(workspace, champions):
        users = wanted[patch.id]
        rows = log.rows_of(users)
        known = [user for user, row in zip(users, rows, strict=True) if row >= 0]
        if known:
            yield patch, answerer.table(log, rows[rows >= 0], known).to_pylist(), utc_now()


def opened(
    workspace: Workspace, champions: list[models.Patch]
) -> Iterator[tuple[models.Patch, "Answerer", models.EventLog, "EventLog"]]:
    """Champions ready to answer from the newest version of the event log that their backbone learnt from.

    Each backbone and event log is opened once; items that a backbone does not know are read as UNK.
    """
    from peter.services import frozen
    from peter.services.answers import Answerer
    from peter.services.logs import newest_log, open_log

    bases: dict[int, frozen.Frozen] = {}
    logs: dict[int, tuple[models.EventLog, EventLog]] = {}  # by the version that was learnt from
    for patch in champions:
        backbone = patch.backbone
        if backbone.id not in bases:
            bases[backbone.id] = frozen.load(workspace, backbone)
        if backbone.event_log_id not in logs:
            row = newest_log(workspace, backbone.event_log)
            logs[backbone.event_log_id] = row, open_log(workspace, row)
        base, (row, log) = bases[backbone.id], logs[backbone.event_log_id]
        yield patch, Answerer.load(workspace.objects, patch, base), row, log.known_to(base.items)


def _card(user: str, found: dict[str, Any]) -> dict[str, Any]:
    if not found:
        raise InputError(
            f"User {user!r} has no events that any backbone reads; check the id, or add events with "
            "`peter data append`."
        )
    events = max(answer["events"] for answer in found.values())
    return {"user_id": user, "events": events, "tasks": dict(sorted(found.items()))}
