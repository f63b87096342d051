"""Cohorts: SQL over all champions' materialised answers at once, and their export."""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb

from peter.errors import InputError
from peter.registry import aliases, models, names, profiles
from peter.services.profile.profiles import provenance
from peter.services.workspace import Workspace

LONG = "long"  # one row for each user and task, with where the answer comes from
WIDE = (
    "wide"  # one row a user: user_id, events, then `gender`, `gender_p` (and `gender_details`) of each task
)
# a cell that a spreadsheet would run as a formula gets a quote in front
_SAFE = r"regexp_replace({0}, '^(\s*[=+@\t\r-])', '''\1') AS {0}"
_SPREADSHEET_SAFE = f"SELECT * REPLACE ({_SAFE.format('user_id')}, {_SAFE.format('value')}) FROM {LONG}"
FORMATS = {".parquet": "FORMAT parquet, COMPRESSION zstd", ".csv": "FORMAT csv, HEADER"}


def query(workspace: Workspace, where: str, limit: int) -> dict[str, Any]:
    """`{users: [{user_id, events, gender, gender_p, ..}], tables: {gender: {version, backbone, as_of}}}`.

    Args:
        where: an SQL expression over the columns of one user; it can read nothing else.

    Raises:
        InputError: the expression cannot be used, or nothing was materialised.
    """
    tables = _tables(workspace)
    with _views(workspace, tables) as database:
        try:
            found = database.view(WIDE).filter(where).order("user_id").limit(limit).to_arrow_table()
        except duckdb.Error as error:
            told = str(error).splitlines()[0]
            columns = ", ".join(database.view(WIDE).columns)
            raise InputError(
                f"The condition {where!r} cannot be used ({told}); the columns are {columns}."
            ) from None
    sources = {table.patch.task.name: provenance(table.patch, table.as_of) for table in tables}
    return {"users": found.to_pylist(), "tables": sources}


def export(workspace: Workspace, path: Path) -> dict[str, Any]:
    """Write all answers to a Parquet or CSV file, one row for each user and task.

    Raises:
        InputError: another ending, a directory, or nothing was materialised.
    """
    if path.suffix not in FORMATS:
        raise InputError(f"{path} ends in neither .parquet nor .csv; choose one of them.")
    if path.is_dir():
        raise InputError(f"{path} is a directory; name a file.")
    partial = path.with_name(f".{path.name}.partial")
    with _views(workspace, _tables(workspace), writable=partial) as database:
        source = _SPREADSHEET_SAFE if path.suffix == ".csv" else f"SELECT * FROM {LONG}"
        try:
            rows = database.execute(
                f"COPY ({source}) TO '{_quoted(partial)}' ({FORMATS[path.suffix]})"
            ).fetchall()
            partial.replace(path)
        except duckdb.IOException as error:
            raise InputError(f"{path} cannot be written ({error}); choose another place.") from None
        finally:
            partial.unlink(missing_ok=True)
    return {"path": str(path), "rows": rows[0][0]}


def _tables(workspace: Workspace) -> list[models.ProfileTable]:
    """The newest table of each champion."""
    with workspace.registry.read() as session:
        tables = profiles.newest(session)
        missing = [patch.task.name for patch in aliases.champions(session) if patch.id not in tables]
    if missing or not tables:
        raise InputError(
            f"{'The champions of ' + ', '.join(missing) if missing else 'No champions'} were not "
            "materialised yet; run `peter profile materialize`."
        )
    return sorted(tables.values(), key=lambda table: table.patch.task.name)


@contextmanager
def _views(
    workspace: Workspace, tables: list[models.ProfileTable], writable: Path | None = None
) -> Iterator[duckdb.DuckDBPyConnection]:
    """An in-memory database that sees the tables' files and nothing else of the machine."""
    paths = [str(workspace.objects.path(table.sha256)) for table in tables]
    allowed = ", ".join(f"'{_quoted(path)}'" for path in [*paths, *([writable] if writable else [])])
    with duckdb.connect() as database:
        database.execute(f"SET allowed_paths = [{allowed}]")
        database.execute("SET enable_external_access = false")
        database.execute("SET lock_configuration = true")
        for table, path in zip(tables, paths, strict=True):
            database.execute(f"CREATE VIEW {_source(table)} AS SELECT * FROM read_parquet('{_quoted(path)}')")
        columns = {table.id: database.view(_source(table)).columns for table in tables}
        telling = {table.id for table in tables if names.DETAILS in columns[table.id]}
        parts = [_long(table, columns[table.id]) for table in tables]
        database.execute(f"CREATE VIEW {LONG} AS {' UNION ALL BY NAME '.join(parts)}")
        database.execute(f"CREATE VIEW {WIDE} AS {_wide(tables, telling)}")
        yield database


def _source(table: models.ProfileTable) -> str:
    return f'"source {table.patch.task.name}"'


def _long(table: models.ProfileTable, columns: Collection[str]) -> str:
    came = provenance(table.patch, table.as_of)
    details = f"to_json({names.DETAILS})" if names.DETAILS in columns else "NULL"
    known = "known" if "known" in columns else "CAST(NULL AS BIGINT) AS known"  # tables of older programs
    return (
        f"SELECT user_id, '{table.patch.task.name}' AS task, CAST(value AS VARCHAR) AS value, probability, "
        f"{came['version']} AS version, '{came['backbone']}' AS backbone, '{came['as_of']}' AS as_of, "
        f"{came['sensitive']} AS sensitive, events, {known}, "
        f"source, in_sample, CAST({details} AS VARCHAR) AS {names.DETAILS} FROM {_source(table)}"
    )


def _wide(tables: list[models.ProfileTable], telling: set[int]) -> str:
    chosen: list[str] = []
    parts: list[str] = []
    for at, table in enumerate(tables):
        sources = ("value", "probability", *([names.DETAILS] if table.id in telling else []))
        pairs = zip(sources, names.columns(table.patch.task.name), strict=False)
        own = {f'"{name}"': source for source, name in pairs}
        chosen += own
        columns = ", ".join(f"{source} AS {name}" for name, source in own.items())
        parts.append(f'(SELECT user_id, events AS "events {at}", {columns} FROM {_source(table)})')
    events = ", ".join(f'"events {at}"' for at in range(len(tables)))
    joined = " FULL JOIN ".join(_using(parts))
    return f"SELECT user_id, greatest({events}) AS events, {', '.join(chosen)} FROM {joined}"


def _using(parts: list[str]) -> list[str]:
    return [parts[0], *(f"{part} USING (user_id)" for part in parts[1:])]


def _quoted(path: object) -> str:
    return str(path).replace("'", "''")
