"""The audit held against the rows that it tells of: a chain of hashes alone does not miss its last rows."""

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from peter.registry.backup import RESTORE
from peter.registry.columns import canonical
from peter.registry.models import (
    AliasHistory,
    Audit,
    Backbone,
    Base,
    EventLog,
    LabelSet,
    Patch,
    ProfileTable,
    Run,
    Task,
)

SEAL = "row"  # the key in an audit row's `after` that holds what `seal` gives
Key = tuple[str, str]  # noun and subject

_MAKING = {"add", "start"}
_CHANGING = {"id", "state"}  # columns that a seal leaves out: a database's number, and what may change


def seal(row: Base) -> dict[str, str]:
    """A digest of every column that is never to change; with the row's making it goes into the audit."""
    columns = [column.name for column in row.__table__.columns if column.name not in _CHANGING]
    return {column: _digest(getattr(row, column)) for column in columns}


def problems(session: Session) -> list[str]:
    """One sentence for each row that the audit does not know, knows otherwise, or knows and that is gone."""
    told, rows = _told(session), dict(_rows(session))
    found = [f"The audit does not tell of {_named(key)}; {RESTORE}" for key in rows if key not in told.last]
    for key, after in told.last.items():
        if key not in rows:
            found.append(f"The audit tells of {_named(key)}, which is not there; {RESTORE}")
        elif told.made[key] > 1:
            found.append(f"The audit tells of {_named(key)} {told.made[key]} times; {RESTORE}")
        else:
            edited = ", ".join(_edited(rows[key], after))
            found += [f"{edited} of {_named(key)} is not what the audit tells; {RESTORE}"] if edited else []
    return [*found, *_unlike(told, session)]


@dataclass
class _Told:
    """What the audit says that there is."""

    made: Counter[Key] = field(default_factory=Counter)
    last: dict[Key, dict[str, Any]] = field(default_factory=dict)  # everything recorded, the newest on top
    moves: dict[str, list[tuple[int | None, int]]] = field(default_factory=lambda: defaultdict(list))
    retired: set[str] = field(default_factory=set)

    def take(self, row: Audit) -> None:
        """Add one row of the audit."""
        noun, _, verb = row.action.partition(".")
        key, after = _key(noun, row), row.after or {}
        self.made[key] += verb in _MAKING
        if row.action == "alias.move":
            self.moves[row.subject].append(((row.before or {}).get("version"), after["version"]))
        elif row.action == "task.retire":
            self.retired.add(row.subject)
        elif row.action == "profile.drop":
            self.last.pop(key, None)
        elif row.action == "label_set.rewrite":  # under another hash, which may be that of another set
            self.last.pop((noun, f"{row.subject} {(row.before or {})['sha256']}"), None)
            self.last[key] = after
        elif self.made[key] or row.action == "profile.replace":
            begun = {"state": "running"} if row.action == "run.start" else {}
            self.last[key] = {**self.last.get(key, {}), **begun, **after}


def _told(session: Session) -> _Told:
    told = _Told()
    for row in session.scalars(select(Audit).order_by(Audit.id).execution_options(yield_per=1000)):
        told.take(row)
    return told


def _key(noun: str, row: Audit) -> Key:
    """A task has many label sets, which are told apart by their hash."""
    return noun, f"{row.subject} {(row.after or {})['sha256']}" if noun == "label_set" else row.subject


def _rows(session: Session) -> Iterator[tuple[Key, Base]]:
    yield from ((("event_log", row.reference), row) for row in session.scalars(select(EventLog)))
    yield from ((("backbone", row.reference), row) for row in session.scalars(select(Backbone)))
    yield from ((("patch", row.reference), row) for row in session.scalars(select(Patch)))
    yield from ((("task", row.name), row) for row in session.scalars(select(Task)))
    for labels in session.scalars(select(LabelSet)):
        yield ("label_set", f"{labels.task.name} {labels.sha256}"), labels
    yield from ((("run", f"run {row.id}"), row) for row in session.scalars(select(Run)))
    for table_ in session.scalars(select(ProfileTable)):
        yield ("profile", f"{table_.patch.reference} on {table_.event_log.reference}"), table_


def _edited(row: Base, after: Mapping[str, Any]) -> Iterator[str]:
    sealed = after.get(SEAL, {})
    for column in (each.name for each in row.__table__.columns):
        value = getattr(row, column)
        plain = column in after and after[column] != value
        if plain or (column in sealed and sealed[column] != _digest(value)):
            yield column


def _unlike(told: _Told, session: Session) -> Iterator[str]:
    """Moves of aliases and retirements of tasks, which are no rows of their own in `_rows`."""
    moves: dict[str, list[tuple[int | None, int]]] = defaultdict(list)
    query = (
        select(Task.name, AliasHistory).join(Task, Task.id == AliasHistory.task_id).order_by(AliasHistory.id)
    )
    for name, move in session.execute(query):
        moves[f"{name}@{move.alias}"].append((move.from_version, move.to_version))
    for alias in sorted(moves.keys() | told.moves.keys()):
        if moves[alias] != told.moves[alias]:
            yield f"The audit tells of other moves of {alias} than its history has; {RESTORE}"
    for task in session.scalars(select(Task).order_by(Task.name)):
        if (task.retired_at is not None) != (task.name in told.retired):
            yield f"Task {task.name} was removed, or brought back, without record; {RESTORE}"


def _named(key: Key) -> str:
    noun, subject = key
    return subject if noun == "run" else f"{noun.replace('_', ' ')} {subject}"


def _digest(value: Any) -> str:
    """16 hex digits of the sha256 of a value as the database gives it back."""
    if isinstance(value, datetime):
        value = value.isoformat()
    text = canonical(json.loads(canonical(value)))  # keys that were numbers come back as text
    return hashlib.sha256(text.encode()).hexdigest()[:16]
