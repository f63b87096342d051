"""Event logs: what `peter data import` and `append` leave in the registry."""

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from peter.registry import audit, names, rows
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
    audit.append(session, actor, "event_log.add", log.reference, after=counts)
    return log


def get(session: Session, reference: str) -> EventLog:
    """The event log `movies@1`, or the newest `movies`.

    Raises:
        InputError: `reference` is no reference.
        UnknownName: nothing answers to it.
    """
    return rows.find(session, EventLog, reference, "event log")


def every(session: Session) -> Sequence[EventLog]:
    """All versions of all event logs, by name and version."""
    return session.scalars(select(EventLog).order_by(EventLog.name, EventLog.version)).all()
