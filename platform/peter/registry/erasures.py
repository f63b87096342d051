"""Erasures: who asked to be forgotten, by pseudonym, how far that is, and what had learnt from them."""

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from peter.errors import Busy
from peter.registry import audit, rows
from peter.registry.models import Erasure

DATA = ("events", "labels")  # steps until which stored data may still hold the user
FOUND = ("event_logs", "backbones", "label_sets", "patches")  # what an erasure names, by reference


def begin(session: Session, pseudonym: str, actor: str) -> Erasure:
    """Put up the tombstone: from this transaction on, the user is unknown."""
    hold(session)
    erasure = Erasure(pseudonym=pseudonym, steps={"done": [], **{noun: [] for noun in FOUND}})
    session.add(erasure)
    session.flush()
    audit.append(session, actor, "user.forget", f"erasure {erasure.id}")
    return erasure


def find(session: Session, pseudonym: str) -> Erasure | None:
    """The erasure of a user."""
    return session.scalar(select(Erasure).where(Erasure.pseudonym == pseudonym))


def every(session: Session) -> Sequence[Erasure]:
    """All erasures, oldest first."""
    return session.scalars(select(Erasure).order_by(Erasure.id)).all()


def pseudonyms(session: Session) -> frozenset[str]:
    """Everybody who was forgotten or is being forgotten."""
    return frozenset(session.scalars(select(Erasure.pseudonym)))


def note(session: Session, erasure_id: int, **found: Iterable[str]) -> Erasure:
    """Add to what an erasure did: steps `done`, and references to what held or learnt from the user."""
    erasure = session.get_one(Erasure, erasure_id, with_for_update=True)
    known: dict[str, Any] = erasure.steps
    added = {noun: list(dict.fromkeys([*known[noun], *names])) for noun, names in found.items()}
    erasure.steps = {**known, **added}
    return erasure


def fence(session: Session) -> int:
    """How many users were forgotten before data is read; `require` it before what was learnt is kept.

    Raises:
        Busy: stored data still holds a user who is being forgotten.
    """
    found = every(session)
    for erasure in found:
        if not set(DATA) <= set(erasure.steps["done"]):
            raise Busy(
                f"The erasure of {erasure.requested_at:%Y-%m-%d %H:%M} UTC is unfinished, and until then "
                "nothing may be learnt; type its `peter user forget USER` again."
            )
    return len(found)


def require(session: Session, seen: int) -> None:
    """As `check`, and nobody is forgotten before this transaction ends."""
    hold(session)
    check(session, seen)


def check(session: Session, seen: int) -> None:
    """Raises Busy where somebody was forgotten since `fence` gave `seen`: what was read must not be kept."""
    if fence(session) != seen:
        raise Busy("A user was forgotten meanwhile, so nothing was kept; type the command again.")


def finish(session: Session, erasure_id: int, actor: str) -> None:
    """Put the end of an erasure on record."""
    audit.append(session, actor, "user.forgotten", f"erasure {erasure_id}")


def hold(session: Session) -> None:
    """Keep tombstones and those who keep what they learnt one after the other."""
    rows.lock(session, "erasure", "")


def unlearnable(session: Session) -> frozenset[str]:
    """The backbones that learnt from somebody who was forgotten since."""
    return frozenset(name for erasure in every(session) for name in erasure.steps["backbones"])
