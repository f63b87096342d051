"""Which objects the registry needs, and what needs each: for `peter gc` and `peter verify`."""

from typing import NamedTuple

from sqlalchemy import select
from sqlalchemy.orm import Session

from peter.registry.columns import ObjectName
from peter.registry.models import Base


class Use(NamedTuple):
    """A row that refers to an object."""

    table: str
    column: str
    row: int

    def __str__(self) -> str:
        return f"{self.table}.{self.column} of row {self.row}"


def objects(session: Session) -> dict[str, list[Use]]:
    """Object name -> the rows that refer to it."""
    needed: dict[str, list[Use]] = {}
    for table in Base.metadata.sorted_tables:
        for column in table.columns:
            if isinstance(column.type, ObjectName):
                query = select(table.c.id, column).where(column.is_not(None))
                for row, sha256 in session.execute(query):
                    needed.setdefault(sha256, []).append(Use(table.name, column.name, row))
    return needed
