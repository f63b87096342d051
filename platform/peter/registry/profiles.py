"""Profile tables: where each patch's outputs for all users of an event log are."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from peter.registry import audit, rows, tasks
from peter.registry.aliases import CHAMPION
from peter.registry.models import Alias, EventLog, Patch, ProfileTable, Task


def replace(
    session: Session, patch: Patch, log: EventLog, sha256: str, count: int, as_of: datetime, actor: str
) -> ProfileTable:
    """Let an object of `count` rows be the table of (task, patch, event log), instead of the one that was."""
    task = tasks.hold(session, patch.task)
    table = find(session, patch, log)
    before = {"sha256": table.sha256, "rows": table.rows} if table else None
    if table:
        table.sha256, table.rows, table.as_of = sha256, count, as_of
    else:
        table = ProfileTable(
            task_id=task.id,
            patch=rows.own(session, patch),
            event_log=rows.own(session, log),
            sha256=sha256,
            rows=count,
            as_of=as_of,
        )
        session.add(table)
    session.flush()
    subject = f"{patch.reference} on {log.reference}"
    audit.append(session, actor, "profile.replace", subject, before, {"sha256": sha256, "rows": count})
    return table


def drop(session: Session, sha256: str, actor: str) -> list[str]:
    """Forget the tables that an object is, which is lost and can be made again; what each was of."""
    dropped = []
    for table in session.scalars(select(ProfileTable).where(ProfileTable.sha256 == sha256)).all():
        subject = f"{table.patch.reference} on {table.event_log.reference}"
        audit.append(session, actor, "profile.drop", subject, {"sha256": sha256, "rows": table.rows})
        session.delete(table)
        dropped.append(subject)
    return dropped


def find(session: Session, patch: Patch, log: EventLog) -> ProfileTable | None:
    """The table of a patch's outputs for the users of `log`."""
    return session.scalar(
        select(ProfileTable)
        .where(ProfileTable.patch_id == patch.id, ProfileTable.event_log_id == log.id)
        .execution_options(populate_existing=True)  # it may have been loaded before `replace` held the task
    )


def every(session: Session) -> Sequence[ProfileTable]:
    """All tables, those of earlier versions too."""
    return session.scalars(select(ProfileTable).order_by(ProfileTable.id)).all()


def current(session: Session) -> Sequence[ProfileTable]:
    """The tables of all champions, by task; of one champion the newest event log first."""
    return session.scalars(
        select(ProfileTable)
        .join(ProfileTable.patch)
        .join(ProfileTable.event_log)
        .join(Patch.task)
        .join(Alias, (Alias.task_id == Patch.task_id) & (Alias.version == Patch.version))
        .where(Alias.alias == CHAMPION, Task.retired_at.is_(None))
        .order_by(Task.name, EventLog.version.desc())
    ).all()


def newest(session: Session) -> dict[int, ProfileTable]:
    """The id of each champion that has tables -> the one of the newest event log."""
    tables: dict[int, ProfileTable] = {}
    for table in current(session):
        tables.setdefault(table.patch_id, table)
    return tables
