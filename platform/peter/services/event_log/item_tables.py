"""Item tables: taking in what is known of items, on top of what an event log knew of them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from peter.data.histories import RESERVED
from peter.data.items import ItemTable
from peter.data.vocabulary import Vocabulary
from peter.errors import InputError
from peter.registry import models
from peter.services.logs import open_items
from peter.services.workspace import Workspace


def taken(
    workspace: Workspace, base: models.EventLog | None, file: Path | None, item: str | None
) -> ItemTable | None:
    """What is known of items once a file is read: what `base` knew, and for the file's items what that says.

    Raises:
        InputError: the file is no table of items, or has other columns than the one before.
    """
    known = open_items(workspace, base) if base else None
    if file is None:
        return known
    given = ItemTable.read(file, item, known.kinds if known else None)
    return known.merged(given) if known else given


def save(table: ItemTable, vocabulary: Path, folder: Path) -> tuple[Path, dict[str, Any]]:
    """Write the table of the items of a log that was just made; with what the log's report tells of it.

    Raises:
        InputError: it describes none of them.
    """
    ids = Vocabulary.load(vocabulary).item_ids[RESERVED:]
    report = table.report(ids)
    if not report["described"]:
        raise InputError(_of_no_use(table, ids))
    path = folder / "known.parquet"
    table.save(path)
    return path, report


def _of_no_use(table: ItemTable, ids: Sequence[str]) -> str:
    items = table.frame["item_id"]
    if same := set(ids).intersection(items):
        return (
            f"The item table says nothing of item {min(same)!r} or another of the log; fill in its columns."
        )
    return (
        f"The item table describes none of the log's {len(ids)} items, {ids[0]!r} for one, but {items[0]!r}; "
        "write item ids there as the events do."
    )
