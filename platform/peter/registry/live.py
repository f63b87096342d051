"""Which objects the registry needs, and what needs each: for `peter gc` and `peter verify`."""

from sqlalchemy import select
from sqlalchemy.orm import Session

from peter.registry.columns import ObjectName
from peter.registry.models import Base


def objects(session: Session) -> dict[str, list[str]]:
    """Object name -> the rows that refer to it, as `table.column of row id`."""
    needed: dict[str, list[str]] = {}
    for table in Base.metadata.sorted_tables:
        for column in table.columns:
            if isinstance(column.type, ObjectName):
                for row, sha256 in session.execute(select(table.c.id, column)):
                    needed.setdefault(sha256, []).append(f"{table.name}.{column.name} of row {row}")
    return needed
