"""Profiles: every champion's answer for a user, read from the materialised tables or computed now."""

from collections.abc import Container, Iterator, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from peter.errors import InputError
from peter.registry import aliases, event_logs, models, profiles
from peter.registry.columns import utc_now
from peter.services.forgotten import hidden
from peter.services.workspace import Workspace

if TYPE_CHECKING:
    from torch import Tensor

Rows = list[dict[str, Any]]


def get(workspace: Workspace, users: list[str], live: bool, explain: bool = False) -> dict[str, Any]:
    """`{users: [{user_id, events, tasks: {gender: {value, probability, version, events, known, ..}}}]}`.

    Each answer is from `events` events, of which its backbone knows the items of `known`.

    Args:
        live: compute everything now; otherwise only what was not materialised for the present champion,
            and users who came to the event log after that.
        explain: each answer has `gates`, too: how far each block of the patch was open to the user, or None
            where all are the same to everybody. All is computed now.

    Raises:
        InputError: no task answers yet, or a user has no events that any champion reads.
    """
    with workspace.registry.read() as session:
        champions = aliases.require_champions(session)
        tables = {} if live or explain else profiles.newest(session)
        complete = {
            patch_id
            for patch_id, table in tables.items()
            if event_logs.newest(session, table.event_log).id == table.event_log_id
        }
    answers: dict[str, dict[str, Any]] = {user: {} for user in users}
    unknown = hidden(workspace, users)
    known = [user for user in users if user not in unknown]
    found = _answers(workspace, champions, tables, complete, known, explain) if known else iter(())
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
    explain: bool,
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
        left_over = [patch for patch in champions if patch.id in missing]
        yield from _live(workspace, left_over, missing, explain)


def _live(
    workspace: Workspace, champions: list[models.Patch], wanted: Mapping[int, list[str]], explain: bool
) -> Iterator[tuple[models.Patch, Rows, datetime]]:
    """Computed now, from the newest version of the event log that each one's backbone learnt from."""
    from peter.services.logs import newest_log
    from peter.services.profile.openings import Openings

    openings = Openings(workspace)
    for patch in champions:
        log = openings.log(newest_log(workspace, patch.backbone.event_log))
        users = wanted[patch.id]
        rows = log.rows_of(users)
        known = [user for user, row in zip(users, rows, strict=True) if row >= 0]
        if known:
            answerer = openings.answerer(patch)
            log = answerer.reading(log)
            told = answerer.table(log, rows[rows >= 0], known).to_pylist()
            if explain:
                told = _explained(told, answerer.fitted.gates(log.histories(rows[rows >= 0])))
            yield patch, told, utc_now()


def _explained(rows: Rows, gates: "Tensor | None") -> Rows:
    """With the gates [B, N] of each."""
    opened = [None] * len(rows) if gates is None else gates.tolist()
    return [{**row, "gates": each} for row, each in zip(rows, opened, strict=True)]


def _card(user: str, found: dict[str, Any]) -> dict[str, Any]:
    if not found:
        raise InputError(
            f"User {user!r} has no events that any backbone reads; check the id, or add events with "
            "`peter data append`."
        )
    events = max(answer["events"] for answer in found.values())
    return {"user_id": user, "events": events, "tasks": dict(sorted(found.items()))}
