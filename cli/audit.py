"""`peter audit`: who changed what."""

from typing import Annotated

import typer

from ._group import noun
from ._options import DEFAULT_REGISTRY, JsonOption, RegistryOption, StoreOption, open_workspace
from ._output import Document, Drawing, show, table

app = noun("See who changed what, and that nobody changed the record.")


@app.command("list", epilog="Example: peter audit list --limit 20")
def list_(
    limit: Annotated[int, typer.Option("--limit", min=1, help="At most so many changes.")] = 50,
    registry: RegistryOption = DEFAULT_REGISTRY,
    store: StoreOption = None,
    json: JsonOption = False,
) -> None:
    """List the newest changes."""
    from peter.services.upkeep import list_audit

    show(list_audit(open_workspace(registry, store), limit), json, _drawn_list)


@app.command(epilog="Example: peter audit verify")
def verify(
    registry: RegistryOption = DEFAULT_REGISTRY, store: StoreOption = None, json: JsonOption = False
) -> None:
    """Check the chain of hashes over all changes; exits 1 when it is broken."""
    from peter.services.upkeep import verify_audit

    found = verify_audit(open_workspace(registry, store))
    show(found, json, _drawn_verdict)
    if not found["whole"]:
        raise typer.Exit(1)


def _drawn_list(document: Document) -> Drawing:
    columns = ("id", "at", "actor", "action", "subject")
    yield table(columns, ([row[column] for column in columns] for row in document["changes"]))


def _drawn_verdict(document: Document) -> Drawing:
    broken = document["broken"]
    yield "The record is whole." if broken is None else f"Row {broken} was changed or follows a missing one."
