"""Profiles: every champion's answer for a user, read from the materialised tables or computed now."""

from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any

from peter.errors import InputError
from peter.registry import aliases, models, profiles
from peter.registry.columns import utc_now
from peter.services.workspace import Workspace

if TYPE_CHECKING:
    from peter.data.event_log import EventLog
    from peter.services.answers import Answerer

Rows = list[dict[str, Any]]


def get(workspace: Workspace, users: list[str], live: bool) -> dict[str, Any]:
    """`{users: [{user_id, events, tasks: {gender: {value, probability, version, ..}}}]}`.

    Args:
        live: compute everything now; otherwise only what was not materialised for the present champion.

    Raises:
        InputError: no task answers yet, or a user has no events that any champion reads.
    """
    with workspace.registry.read() as session:
        champions = aliases.require_champions(session)
        tables = {} if live else profiles.newest(session)
    answers: dict[str, dict[str, Any]] = {user: {} for user in users}
    for patch, rows, as_of in _answers(workspace, champions, tables, users):
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
    users: list[str],
) -> Iterator[tuple[models.Patch, Rows, datetime]]:
    """Each champion's rows for those users that it can answer for, and the time they are of."""
    import pyarrow.parquet as pq

    missing = [patch for patch in champions if patch.id not in tables]
    for patch in champions:
        if table := tables.get(patch.id):
            path = workspace.objects.path(table.sha256)
            yield patch, pq.read_table(path, filters=[("user_id", "in", users)]).to_pylist(), table.as_of
    if missing:
        yield from _live(workspace, missing, users)


def _live(
    workspace: Workspace, champions: list[models.Patch], users: list[str]
) -> Iterator[tuple[models.Patch, Rows, datetime]]:
    for patch, answerer, log in opened(workspace, champions):
        rows = log.rows_of(users)
        known = [user for user, row in zip(users, rows, strict=True) if row >= 0]
        if known:
            yield patch, answerer.table(log, rows[rows >= 0], known).to_pylist(), utc_now()


def opened(
    workspace: Workspace, champions: list[models.Patch]
) -> Iterator[tuple[models.Patch, "Answerer", "EventLog"]]:
    """Champions ready to answer; each backbone and event log is opened once."""
    from peter.services import frozen
    from peter.services.answers import Answerer
    from peter.services.logs import open_log

    bases: dict[int, frozen.Frozen] = {}
    logs: dict[int, EventLog] = {}
    for patch in champions:
        backbone = patch.backbone
        if backbone.id not in bases:
            bases[backbone.id] = frozen.load(workspace, backbone)
        if backbone.event_log_id not in logs:
            logs[backbone.event_log_id] = open_log(workspace, backbone.event_log)
        yield patch, Answerer.load(workspace.objects, patch, bases[backbone.id]), logs[backbone.event_log_id]


def _card(user: str, found: dict[str, Any]) -> dict[str, Any]:
    if not found:
        raise InputError(
            f"User {user!r} has no events that any backbone reads; check the id, or import events with "
            "`peter data import`."
        )
    events = max(answer["events"] for answer in found.values())
    return {"user_id": user, "events": events, "tasks": dict(sorted(found.items()))}
