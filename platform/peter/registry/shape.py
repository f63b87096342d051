"""The tables as the database has them, held against what the models describe and the migrations make."""

from collections.abc import Iterator

from sqlalchemy import Connection, Inspector, func, inspect, select, text

from peter.registry.backup import RESTORE
from peter.registry.columns import Json
from peter.registry.models import Base

ONLY_GROW = ("alias_history", "audit")
_TRIGGERS = {"sqlite": ("update", "delete"), "postgresql": ("change", "truncate")}
_ARMED = {
    "sqlite": "SELECT name FROM sqlite_master WHERE type = 'trigger'",
    "postgresql": "SELECT tgname FROM pg_trigger WHERE NOT tgisinternal AND tgenabled <> 'D'",
}


def unreadable(connection: Connection) -> list[str]:
    """Why rows cannot be read: columns that are not there, or of another type; text that is no JSON."""
    found = set(_columns(connection))
    lost = [
        f"The registry has no column {name} of type {kind}; {RESTORE}"
        for name, kind in _described(connection)
        if (name, kind) not in found
    ]
    return lost or list(_no_json(connection))


def problems(connection: Connection) -> list[str]:
    """Broken pages, and what keeps rows as they should be and is gone: constraints, indexes and triggers."""
    broken = [f"SQLite says of the registry: {line}; {RESTORE}" for line in _integrity(connection)]
    found = set(_constraints(inspect(connection))) | set(_armed(connection))
    wanted = [*_described_constraints(), *_described_triggers(connection)]
    return broken + [f"The registry lacks {name}; {RESTORE}" for name in wanted if name not in found]


def _no_json(connection: Connection) -> Iterator[str]:
    """To SQLite JSON is text like any; a server checks it."""
    if connection.dialect.name != "sqlite":
        return
    for table in Base.metadata.sorted_tables:
        for column in table.columns:
            if isinstance(column.type, Json):
                broken = select(table.c.id).where(column.is_not(None), func.json_valid(column) == 0)
                for row in connection.scalars(broken):
                    yield f"Row {row} of {table.name} has in {column.name} what is no JSON; {RESTORE}"


def _integrity(connection: Connection) -> list[str]:
    if connection.dialect.name != "sqlite":
        return []
    return [line for line in connection.scalars(text("PRAGMA integrity_check")) if line != "ok"]


def _described(connection: Connection) -> Iterator[tuple[str, str]]:
    for table in Base.metadata.sorted_tables:
        for column in table.columns:
            yield f"{table.name}.{column.name}", column.type.compile(connection.dialect)


def _columns(connection: Connection) -> Iterator[tuple[str, str]]:
    inspector = inspect(connection)
    for table in _tables(inspector):
        for column in inspector.get_columns(table):
            yield f"{table}.{column['name']}", column["type"].compile(connection.dialect)


def _described_constraints() -> Iterator[str]:
    for table in Base.metadata.sorted_tables:
        yield from sorted(str(each.name) for each in table.constraints)
        yield from sorted(str(each.name) for each in table.indexes)


def _constraints(inspector: Inspector) -> Iterator[str]:
    for table in _tables(inspector):
        yield str(inspector.get_pk_constraint(table)["name"])
        for found in (
            inspector.get_unique_constraints(table),
            inspector.get_foreign_keys(table),
            inspector.get_check_constraints(table),
            inspector.get_indexes(table),
        ):
            yield from (str(each["name"]) for each in found)


def _described_triggers(connection: Connection) -> Iterator[str]:
    for table in ONLY_GROW:
        for verb in _TRIGGERS[connection.dialect.name]:
            yield f"tr_{table}_{verb}"


def _armed(connection: Connection) -> Iterator[str]:
    yield from connection.scalars(text(_ARMED[connection.dialect.name]))


def _tables(inspector: Inspector) -> list[str]:
    present = set(inspector.get_table_names())
    return [name for name in Base.metadata.tables if name in present]
