"""`peter data`: event logs, what users did."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from ._coverage import fallen
from ._group import noun
from ._options import DEFAULT_REGISTRY, JsonOption, RegistryOption, StoreOption, open_workspace
from ._output import Document, Drawing, facts, show, table

app = noun("Import event logs and look at them.")

FILES = typer.Argument(metavar="FILE..", help="CSV, TSV, Parquet or RecBole .inter, one header for all.")
UserOption = Annotated[
    str | None, typer.Option(metavar="COLUMN", help="Column of user ids; the usual names need none.")
]
ItemOption = Annotated[
    str | None, typer.Option(metavar="COLUMN", help="Column of item ids; the usual names need none.")
]
TimeOption = Annotated[
    str | None, typer.Option(metavar="COLUMN", help="Column of times; the usual names need none.")
]
ItemsOption = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE", help="Table of item_id and what is known: text, categories, numbers, vectors."
    ),
]


@app.command("list", epilog="Example: peter data list --json")
def list_(
    registry: RegistryOption = DEFAULT_REGISTRY, store: StoreOption = None, json: JsonOption = False
) -> None:
    """List the event logs."""
    from peter.services.event_log import events

    show(events.list_events(open_workspace(registry, store)), json, _drawn_list)


@app.command("show", epilog="Example: peter data show movies@1")
def show_(
    log: Annotated[str, typer.Argument(metavar="NAME[@VERSION]", help="The event log.")],
    registry: RegistryOption = DEFAULT_REGISTRY,
    store: StoreOption = None,
    json: JsonOption = False,
) -> None:
    """Show an event log and where it came from."""
    from peter.services.event_log import events

    show(events.show_events(open_workspace(registry, store), log), json, _drawn_log)


@app.command("import", epilog="Example: peter data import ratings.csv --name movies --item movie_id")
def import_(
    files: Annotated[list[Path], FILES],
    name: Annotated[str, typer.Option("--name", help="What to call the event log.")],
    user: UserOption = None,
    item: ItemOption = None,
    time: TimeOption = None,
    min_user_count: Annotated[int, typer.Option(min=1, help="Leave out users with fewer events.")] = 1,
    min_item_count: Annotated[int, typer.Option(min=1, help="Leave out items with fewer events.")] = 1,
    items: ItemsOption = None,
    registry: RegistryOption = DEFAULT_REGISTRY,
    store: StoreOption = None,
    json: JsonOption = False,
) -> None:
    """Import files as an event log.

    A name that exists gets a new version. `price:number` in the header of an item table says what a column
    holds (text, category, number or vector) where its values do not.
    """
    from peter.services.event_log import events

    from ._progress import progress

    log = events.import_events(
        open_workspace(registry, store),
        files,
        name,
        user,
        item,
        time,
        min_user_count,
        min_item_count,
        progress(),
        items,
    )
    show(log, json, _drawn_import)


@app.command(epilog="Example: peter data append movies ratings-2025-01.csv")
def append(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The event log, without a version.")],
    files: Annotated[list[Path] | None, FILES] = None,
    user: UserOption = None,
    item: ItemOption = None,
    time: TimeOption = None,
    items: ItemsOption = None,
    registry: RegistryOption = DEFAULT_REGISTRY,
    store: StoreOption = None,
    json: JsonOption = False,
) -> None:
    """Add files to an event log: its next version.

    Tasks answer from it; what is stored stays until `peter profile materialize`. A file whose events the log
    was given before is left out. What an item table says of an item replaces what was known of it.
    """
    from peter.services.event_log import events

    from ._progress import progress

    workspace = open_workspace(registry, store)
    log = events.append_events(workspace, name, files or [], user, item, time, progress(), items)
    show(log, json, _drawn_append)


def _drawn_list(document: Document) -> Drawing:
    counts = ("users", "items", "events")
    yield table(
        ["event log", "appended to", *counts],
        (
            [f"{log['name']}@{log['version']}", log["parent"], *(log[count] for count in counts)]
            for log in document["event_logs"]
        ),
        right=counts,
    )


def _drawn_log(log: Document) -> Drawing:
    moments = {name: _moment(log[name], log["time_unit"]) for name in ("first_at", "last_at")}
    report = {**log["report"], "files": len(log["report"].get("files", ()))}
    if told := report.get("items"):
        report["items"] = {**told, "described": f"{told['described']:,} of {log['items']:,}"}
    coverage = {row["backbone"]: _known(row, log["events"]) for row in log["coverage"]}
    yield facts({**log, **moments, "report": report, "coverage": coverage})
    told = {"event_log": f"{log['name']}@{log['version']}", "events": log["events"]}
    yield from fallen({**row, **told} for row in log["coverage"])


def _drawn_import(log: Document) -> Drawing:
    yield from _drawn_log(log)
    yield from _sparse(log)
    yield f"Next: peter backbone pretrain {log['name']}"


def _drawn_append(log: Document) -> Drawing:
    yield from _drawn_log(log)
    yield from _sparse(log)
    yield "Next: peter profile materialize, so that stored answers know of it, too."


def _sparse(log: Document) -> Iterator[str]:
    """What it means that the item table describes fewer than half of the items."""
    told, items = log["report"].get("items"), log["items"]
    if told and 2 * told["described"] < items:
        yield (
            f"Of {items - told['described']:,} of {items:,} items nothing is known: --objective "
            "item-feature reads all of these as unknown, and --method relearn knows at most what a task's "
            f"labels teach it of each; describe them with `peter data append {log['name']} --items FILE`."
        )


def _known(row: Document, events: int) -> str:
    return "cannot be told" if row["known"] is None else f"{row['known']:,} of {events:,}"


def _moment(at: int | None, unit: str) -> str | None:
    """A date where the log has dates; bare numbers stay what they were."""
    if at is None:
        return None
    return datetime.fromtimestamp(at / 1e6, UTC).isoformat(" ", "seconds") if unit == "us" else str(at)
