"""Event logs: what `peter data import` and `append` leave in the registry."""

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from peter.registry import audit, names, record, rows
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
    after = {
        "users": log.users,
        "items": log.items,
        "events": log.events,
        "sha256": log.sha256,
        record.SEAL: record.seal(log),
    }
    audit.append(session, actor, "event_log.add", log.reference, after=after)
    return log


def get(session: Session, reference: str) -> EventLog:
    """The event log `movies@1`, or the newest `movies`.

    Raises:
        InputError: `reference` is no reference.
        UnknownName: nothing answers to it.
    """
    return rows.find(session, EventLog, reference, "event log")


def hold(session: Session, name: str) -> EventLog:
    """The newest version of a name, and it stays that until this transaction ends. Raises UnknownName."""
    rows.lock(session, "event_log", name)
    return get(session, name)


def rewrite(session: Session, log: EventLog, rewritten: EventLog, actor: str) -> bool:
    """Let a version refer to what is left of it without a user who was forgotten; its number stays.

    Returns:
        False: it is no longer what `log` was, because another user was forgotten meanwhile; nothing was done.
    """
    rows.lock(session, "event_log", log.name)
    was, log = log.users_sha256, rows.own(session, log)
    if log.users_sha256 != was:
        return False
    counts = ("users", "events", "sha256")
    before = {name: getattr(log, name) for name in counts}
    for name in (*counts, "users_sha256", "vocab_sha256", "first_at", "last_at", "report"):
        setattr(log, name, getattr(rewritten, name))
    session.flush()
    after = {**{name: getattr(log, name) for name in counts}, record.SEAL: record.seal(log)}
    audit.append(session, actor, "event_log.rewrite", log.reference, before, after)
    return True


def lineage(session: Session, log: EventLog) -> list[EventLog]:
    """`log`, the version that it was appended to, and so on back to an import."""
    versions = {each.id: each for each in _versions(session, log.name)}
    found = [log]
    while (parent := found[-1].parent_id) is not None:
        found.append(versions[parent])
    return found


def newest(session: Session, log: EventLog) -> EventLog:
    """The newest version that `log` became by appending; `log` itself where nothing was appended."""
    line = {log.id: log}
    for later in _versions(session, log.name):  # a parent comes before what was appended to it
        if later.parent_id in line:
            line[later.id] = later
    return list(line.values())[-1]


def _versions(session: Session, name: str) -> Sequence[EventLog]:
    return session.scalars(select(EventLog).where(EventLog.name == name).order_by(EventLog.version)).all()


def every(session: Session) -> Sequence[EventLog]:
    """All versions of all event logs, by name and version."""
    return session.scalars(select(EventLog).order_by(EventLog.name, EventLog.version)).all()
