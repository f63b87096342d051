"""References between rows, those included that no constraint of the database can hold."""

from collections.abc import Iterator
from itertools import groupby

from sqlalchemy import ForeignKeyConstraint, and_, select
from sqlalchemy.orm import Session

from peter.registry import aliases
from peter.registry.backup import RESTORE
from peter.registry.models import Alias, Backbone, Base, EventLog, Patch, ProfileTable, Task


def problems(session: Session) -> list[str]:
    """One sentence for each reference that leads nowhere or elsewhere, and for each gap in a numbering."""
    return [
        *_dangling(session),
        *_gaps(session),
        *_crossed(session),
        *_moved(session),
    ]


def _dangling(session: Session) -> Iterator[str]:
    for table in Base.metadata.sorted_tables:
        for key in sorted(table.foreign_key_constraints, key=lambda key: str(key.name)):
            for row in _orphans(session, key):
                there = key.referred_table.name
                yield f"Row {row} of {table.name} refers to a row of {there} that is not there; {RESTORE}"


def _orphans(session: Session, key: ForeignKeyConstraint) -> list[int]:
    """The ids of rows that a foreign key, were it enforced, would refuse."""
    table, parent = key.table, key.referred_table.alias()
    same = and_(*(each.parent == parent.c[each.column.name] for each in key.elements))
    given = and_(*(column.is_not(None) for column in key.columns))
    query = select(table.c.id).outerjoin(parent, same).where(given, parent.c.id.is_(None))
    return list(session.scalars(query.order_by(table.c.id)))


def _gaps(session: Session) -> Iterator[str]:
    numbered = {
        "event log": select(EventLog.name, EventLog.version),
        "backbone": select(Backbone.name, Backbone.version),
        "task": select(Task.name, Patch.version).join(Task, Task.id == Patch.task_id),
    }
    for noun, query in numbered.items():
        rows = sorted((str(name), int(version)) for name, version in session.execute(query))
        for name, found in groupby(rows, key=lambda row: row[0]):
            versions = [version for _, version in found]
            if lost := sorted(set(range(1, versions[-1] + 1)) - set(versions)):
                yield f"Version {lost[0]} of {noun} {name} is not there, though later ones are; {RESTORE}"


def _crossed(session: Session) -> Iterator[str]:
    patches = session.scalars(select(Patch).order_by(Patch.id)).all()
    known = {patch.id for patch in patches}
    for patch in patches:
        if patch.label_set.task_id != patch.task_id:
            yield f"{patch.reference} refers to labels of task {patch.label_set.task.name}; {RESTORE}"
        for read in patch.reads:
            if read not in known - {patch.id}:
                yield f"{patch.reference} reads patch {read}, which is not there; {RESTORE}"
    for body in session.scalars(select(Backbone).order_by(Backbone.id)):
        counted_anew = "forgotten" in body.event_log.report  # without one user; the items keep their rows
        if body.vocab_sha256 != body.event_log.vocab_sha256 and not counted_anew:
            log = body.event_log.reference
            yield f"Backbone {body.reference} has another vocabulary than {log}; {RESTORE}"
    for table in session.scalars(select(ProfileTable).order_by(ProfileTable.id)):
        same_log = table.event_log.name == table.patch.backbone.event_log.name
        if not same_log or table.task_id != table.patch.task_id:
            what = f"{table.patch.reference} on {table.event_log.reference}"
            yield f"The stored answers of {what} belong to another task or log; {RESTORE}"


def _moved(session: Session) -> Iterator[str]:
    tasks = _task_names(session)
    recorded, odd = aliases.replayed(session)
    for task, alias in dict.fromkeys((move.task_id, move.alias) for move in odd):
        yield f"A move of {tasks.get(task)}@{alias} does not begin where the one before ended; {RESTORE}"
    present = {(row.task_id, row.alias): row.version for row in session.scalars(select(Alias))}
    for task, alias in sorted(recorded.keys() | present.keys()):
        is_, was = present.get((task, alias)), recorded.get((task, alias))
        if is_ != was:
            advice = "run `peter verify --repair`, which believes the move." if was else RESTORE
            names = f"{tasks.get(task)}@{alias} names version {is_ or 'none'}"
            yield f"{names} and its last move is to {was or 'none'}; {advice}"


def _task_names(session: Session) -> dict[int, str]:
    return {number: name for number, name in session.execute(select(Task.id, Task.name))}
