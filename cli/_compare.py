"""Methods side by side: metrics, sizes and times in one table, and who is better than the first."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from ._metrics import ABREAST, better, cell, primary_gain
from ._output import Document, Drawing, table

if TYPE_CHECKING:
    from rich.table import Table

COSTS = "train\none user\nbulk"


def comparison(document: Document) -> Drawing:
    """A row a method, three lines high, so that all of it fits on a narrow terminal."""
    rows = document["methods"]
    columns = list(rows[0]["metrics"]["test"])
    abreast, more = columns[:ABREAST], columns[ABREAST:]
    yield _table(rows, abreast, COSTS)
    if more:
        yield _table(rows, more)
    yield (
        f"On {document['users']['test']:,} test users. Below a method: its parameters, also as a share of "
        "the backbone; below a value: the 95% interval; last: time to train, time to answer one user, and "
        "users answered a second."
    )
    count, first = document["seeds"]["count"], document["seeds"]["first"]
    if count > 1:
        yield f"Averages over the seeds {first} to {first + count - 1}; ± is their standard deviation."
    yield from better_rivals(document)
    yield f"Nothing was registered; `peter task train {document['task']} --method NAME` makes a version."


def _table(rows: Sequence[Document], columns: Sequence[str], *costs: str) -> "Table":
    """Also with what rows cost, under a heading for it."""
    drawn = table(["", *columns, *costs], [], right=[*columns, *costs])
    for row in rows:
        drawn.add_row(
            _titled(row), *(_measured(row, column) for column in columns), *(_costs(row) for _ in costs)
        )
    return drawn


def better_rivals(document: Document) -> Iterator[str]:
    """A sentence for every method with a better primary metric than the first."""
    first, *rivals = document["methods"]
    for rival in rivals:
        yield from better(
            rival["method"], first["method"], document, primary_gain(document, rival["difference"])
        )


def _titled(row: Document) -> str:
    return f"{row['method']}\n{row['params']:,}\n{row['share']:.1%}"


def _measured(row: Document, column: str) -> str:
    shown = cell(row["metrics"]["test"].get(column))
    if seeds := row.get("seeds"):
        shown += f"\n±{seeds['test'][column]['sd']:.3f}"
    return shown


def _costs(row: Document) -> str:
    return (
        f"{row['train_seconds']:,.1f} s\n{row['serve_ms_per_user']:.2f} ms\n"
        f"{row['bulk_users_per_second']:,.0f}/s"
    )
