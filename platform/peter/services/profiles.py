"""Profiles: every champion's answer for a user, read from the materialised tables or computed now."""

from collections.abc import Container, Iterator, Mapping
from datetime import datetime
from typing import Any

from peter.errors import InputError
from peter.registry import aliases, event_logs, models, profiles
from peter.registry.columns import utc_now
from peter.services.forgotten import hidden
from peter.services.workspace import Workspace

Rows = list[dict[str, Any]]


def get(workspace: Workspace, users: list[str], live: bool) -> dict[str, Any]:
    """`{users: [{user_id, events, tasks: {gender: {value, probability, version, events, known, ..}}}]}`.

    Each answer is from `events` events, of which its backbone knows the items of `known`.

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
    unknown = hidden(workspace, users)
    known = [user for user in users if user not in unknown]
    found = _answers(workspace, champions, tables, complete, known) if known else iter(())
    for patch, rows, as_of in found:
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
        "sensitive": patch.task.sensitive,
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
    """Computed now, from the newest version of the event log that each one's backbone learnt from."""
    from peter.services.logs import newest_log
    from peter.services.openings import Openings

    openings = Openings(workspace)
    for patch in champions:
        log = openings.log(newest_log(workspace, patch.backbone.event_log), patch.backbone)
        users = wanted[patch.id]
        rows = log.rows_of(users)
        known = [user for user, row in zip(users, rows, strict=True) if row >= 0]
        if known:
            yield patch, openings.answerer(patch).table(log, rows[rows >= 0], known).to_pylist(), utc_now()


def _card(user: str, found: dict[str, Any]) -> dict[str, Any]:
    if not found:
        raise InputError(
            f"User {user!r} has no events that any backbone reads; check the id, or add events with "
            "`peter data append`."
        )
    events = max(answer["events"] for answer in found.values())
    return {"user_id": user, "events": events, "tasks": dict(sorted(found.items()))}
