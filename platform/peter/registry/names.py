"""What things may be called: names become columns of the profile, files and words on a command line."""

import re
from collections.abc import Collection

from peter.errors import InputError, NameTaken

PATTERN = "[a-z][a-z0-9_]{0,62}"
DETAILS = "details"  # what a kind tells beside value and probability, where it tells more

_DEVICES = {"con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(10))}

# Words that a WHERE expression over columns of these names would misread: DuckDB's and standard SQL's.
_WORDS = """
    all analyse analyze and anti any array as asc asof asymmetric at authorization between binary both by
    case cast check collate collation column concurrently constraint create cross current_catalog
    current_date current_role current_schema current_time current_timestamp current_user default
    deferrable delete desc describe distinct do drop else end escape except exists false fetch for foreign
    freeze from full glob grant group having ilike in initially inner insert intersect interval into is
    isnull join lambda lateral leading left like limit localtime localtimestamp natural not notnull null
    offset on only or order outer overlaps pivot pivot_longer pivot_wider placing positional primary
    qualify references returning right rowid select semi session_user set show similar some summarize
    symmetric table tablesample then to trailing true union unique unpack unpivot update user using values
    variadic verbose when where window with
"""
_RESERVED = frozenset(_WORDS.split())
_OWN_COLUMNS = frozenset({"user_id", "events"})  # of every profile table


def check(noun: str, name: str) -> None:
    """Refuse a name that no event log, backbone or task may have.

    Raises:
        InputError: saying which letters are allowed.
    """
    if not re.fullmatch(PATTERN, name):
        raise InputError(f"{name!r} cannot name {noun}; use up to 63 of a-z, 0-9 and _, with a letter first.")
    if name in _DEVICES:
        raise InputError(f"{name!r} cannot name {noun}: Windows keeps it for a device; choose another name.")


def check_task(name: str, others: Collection[str]) -> None:
    """Refuse a task name that could not be a profile column beside those of `others`.

    Raises:
        InputError: it is misspelt, reserved, or one of its columns exists.
        NameTaken: it is one of `others`.
    """
    check("a task", name)
    if name in _RESERVED:
        raise InputError(f"{name!r} cannot name a task: it is a word of SQL; choose another name.")
    if name in others:
        raise NameTaken(f"There is a task called {name!r} already; choose another name.")
    owners = {column: f"task {other!r}" for other in others for column in columns(other)}
    owners |= {column: "every profile" for column in _OWN_COLUMNS}
    for column in columns(name):
        if column in owners:
            raise InputError(
                f"{name!r} cannot name a task: column {column!r} belongs to {owners[column]}; "
                "choose another name."
            )


def columns(task: str) -> tuple[str, str, str]:
    """The profile columns that a task owns: its value, its probability and what else its kind tells."""
    return task, f"{task}_p", f"{task}_{DETAILS}"
