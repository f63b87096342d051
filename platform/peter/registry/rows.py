"""What every noun does with rows: bring them into its session, number them without gap or duplicate."""

from typing import Any, TypeVar

from sqlalchemy import ColumnElement, func, inspect, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from peter.registry.models import Base

Row = TypeVar("Row", bound=Base)

_SPACE = 0x7065  # keeps peter's advisory locks apart from those of other programs


def lock(session: Session, table: str, name: str) -> None:
    """Keep others who number `name` waiting until this transaction ends; for what has no parent row to lock.

    SQLite needs nothing: its transactions in `Registry.write` come one at a time.
    """
    if session.get_bind().dialect.name == "postgresql":
        session.execute(select(func.pg_advisory_xact_lock(_SPACE, func.hashtext(f"{table}:{name}"))))


def following(session: Session, version: InstrumentedAttribute[int], *of: ColumnElement[Any]) -> int:
    """The version after the highest one; the caller holds the lock that makes this the only answer."""
    return session.scalars(select(func.coalesce(func.max(version), 0) + 1).where(*of)).one()


def own(session: Session, row: Row) -> Row:
    """The session's own copy of a row that an earlier session may have loaded."""
    return session.get_one(type(row), inspect(row).identity)
