"""`peter audit`: who changed what."""

from typing import Annotated

import typer

from ._group import noun
from ._options import DEFAULT_REGISTRY, JsonOption, RegistryOption, StoreOption, open_workspace
from ._output import Document, Drawing, minute, show, table

app = noun("See who changed what.")


@app.command("list", epilog="Example: peter audit list --limit 20")
def list_(
    limit: Annotated[int, typer.Option("--limit", min=1, help="At most so many changes.")] = 50,
    registry: RegistryOption = DEFAULT_REGISTRY,
    store: StoreOption = None,
    json: JsonOption = False,
) -> None:
    """List the newest changes."""
    from peter.services.integrity.upkeep import list_audit

    show(list_audit(open_workspace(registry, store), limit), json, _drawn_list)


@app.command(epilog="Example: peter audit verify")
def verify(
    registry: RegistryOption = DEFAULT_REGISTRY, store: StoreOption = None, json: JsonOption = False
) -> None:
    """Check that nobody changed the record.

    Each change carries a hash over all before it, and tells of rows that must be there as it says; exits 1
    when the chain is broken or a row is not in it.
    """
    from peter.services.integrity.upkeep import verify_audit

    found = verify_audit(open_workspace(registry, store))
    show(found, json, _drawn_verdict)
    if not found["whole"]:
        raise typer.Exit(1)


def _drawn_list(document: Document) -> Drawing:
    yield table(
        ["id", "at (UTC)", "actor", "action", "subject"],
        (
            [str(row["id"]), minute(row["at"]), *(row[column] for column in ("actor", "action", "subject"))]
            for row in document["changes"]
        ),
    )


def _drawn_verdict(document: Document) -> Drawing:
    if document["whole"]:
        yield "The record is whole."
    if document["broken"] is not None:
        yield f"Row {document['broken']} was changed or follows a missing one."
    yield from document["problems"]
