"""The audit: one row a change in the change's own transaction, chained by sha256 so that an edit shows."""

import hashlib
from collections.abc import Sequence
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from peter.registry import rows
from peter.registry.columns import canonical, utc_now
from peter.registry.models import Audit

_START = "0" * 64  # what the first row follows


def append(
    session: Session,
    actor: str,
    action: str,
    subject: str,
    before: dict[str, Any] | None = None,
    after: dict[str, Any] | None = None,
) -> Audit:
    """Record a change; no ids of users may be in it, for it is never edited."""
    rows.lock(session, "audit", "")
    last = session.scalar(select(Audit.hash).order_by(Audit.id.desc()).limit(1))
    row = Audit(
        at=utc_now(),
        actor=actor,
        action=action,
        subject=subject,
        before=before,
        after=after,
        prev_hash=last or _START,
        hash="",
    )
    row.hash = _digest(row)
    session.add(row)
    session.flush()
    return row


def verify(session: Session) -> Audit | None:
    """The first row that was edited or whose predecessor is gone, or None when the chain is whole."""
    previous = _START
    with session.scalars(select(Audit).order_by(Audit.id).execution_options(yield_per=1000)) as chain:
        for row in chain:
            if row.prev_hash != previous or row.hash != _digest(row):
                return row
            previous = row.hash
    return None


def latest(session: Session, limit: int) -> Sequence[Audit]:
    """The newest changes, newest first."""
    return session.scalars(select(Audit).order_by(Audit.id.desc()).limit(limit)).all()


def _digest(row: Audit) -> str:
    content = [row.at.isoformat(), row.actor, row.action, row.subject, row.before, row.after, row.prev_hash]
    return hashlib.sha256(canonical(content).encode()).hexdigest()
