"""Event logs: what `peter data import` and `append` leave in the registry."""

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from peter.errors import UnknownName
from peter.registry import audit, names, references, rows
from peter.registry.models import EventLog


def add(session: Session, log: EventLog, actor: str) -> EventLog:
    """Register `log` as the next version of its name.

    Raises:
        InputError: the name is not allowed.
    """
    names.check("an event log", log.name)
    rows.lock(session, "event_log", log.name)
    log.version = rows.following(session, EventLog.version, EventLog.name == log.name)
    session.add(log)
    session.flush()
    counts = {"users": log.users, "items": log.items, "events": log.events, "sha256": log.sha256}
    audit.append(session, actor, "event_log.add", f"{log.name}@{log.version}", after=counts)
    return log


def get(session: Session, reference: str) -> EventLog:
    """The event log `movies@1`, or the newest `movies`.

    Raises:
        InputError: `reference` is no reference.
        UnknownName: nothing answers to it.
    """
    wanted = references.parse(reference)
    query = select(EventLog).where(EventLog.name == wanted.name).order_by(EventLog.version.desc()).limit(1)
    if wanted.version:
        query = query.where(EventLog.version == wanted.version)
    log = None if wanted.alias else session.scalar(query)
    if log is None:
        raise UnknownName("event log", reference, _known(session, wanted.name))
    return log


def every(session: Session) -> Sequence[EventLog]:
    """All versions of all event logs, by name and version."""
    return session.scalars(select(EventLog).order_by(EventLog.name, EventLog.version)).all()


def _known(session: Session, name: str) -> set[str]:
    logs = every(session)
    return {f"{log.name}@{log.version}" for log in logs if log.name == name} or {log.name for log in logs}
