"""What every noun does with rows: find them, bring them into its session, number them without a gap."""

from typing import Any, TypeVar

from sqlalchemy import ColumnElement, func, inspect, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from peter.errors import UnknownName
from peter.registry import references
from peter.registry.models import Backbone, Base, EventLog

Row = TypeVar("Row", bound=Base)
Versioned = TypeVar("Versioned", EventLog, Backbone)

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


def find(session: Session, table: type[Versioned], reference: str, noun: str) -> Versioned:
    """The version `movies@1` of a table, or the newest `movies`; `noun` is what an error calls it.

    Raises:
        InputError: `reference` is no reference.
        UnknownName: nothing answers to it.
    """
    wanted = references.parse(reference)
    query = select(table).where(table.name == wanted.name).order_by(table.version.desc()).limit(1)
    if wanted.version:
        query = query.where(table.version == wanted.version)
    row = None if wanted.alias else session.scalar(query)
    if row is None:
        others = session.scalars(select(table)).all()
        versions = {other.reference for other in others if other.name == wanted.name}
        raise UnknownName(noun, reference, versions or {other.name for other in others})
    return row
