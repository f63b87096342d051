"""`peter verify`: hold everything that is stored against its hash, its record and its certificate."""

from typing import Annotated

import typer

from peter.errors import InputError

from ._options import DEFAULT_REGISTRY, JsonOption, RegistryOption, StoreOption, open_workspace
from ._output import Document, Drawing, facts, show, table


def verify(
    quick: Annotated[
        bool,
        typer.Option(
            "--quick", help="Hash no object and recompute no certificate: seconds, whatever the size."
        ),
    ] = False,
    repair: Annotated[
        bool, typer.Option("--repair", help="Put back what can be; bad bytes go to quarantine/ in the store.")
    ] = False,
    source: Annotated[
        str | None,
        typer.Option("--from", metavar="DIR|URL", help="A copy of the store, to take good objects from."),
    ] = None,
    registry: RegistryOption = DEFAULT_REGISTRY,
    store: StoreOption = None,
    json: JsonOption = False,
) -> None:
    """Prove that nothing stored has changed.

    Checks the schema, every reference and the audit, hashes every object again and recomputes every
    champion's certificate; exits 1 when something is wrong (and stays so). --quick sees that objects are
    there and not empty, and not what is in them.
    """
    from peter.services.integrity.repair import copy_at
    from peter.services.integrity.verify import verify

    from ._progress import progress

    if source and not repair:
        raise InputError("--from says where to take good objects from; give --repair with it.")
    workspace = open_workspace(registry, store)
    copies = ([copy_at(workspace, source)] if source else []) if repair else None
    report = verify(workspace, quick, progress(), copies)
    show(report, json, _drawn)
    if report["problems"]:
        raise typer.Exit(1)


def _drawn(report: Document) -> Drawing:
    yield facts({"checked": report["checked"]})
    for heading, sentences in (("repaired", report["repaired"]), ("problem", report["problems"])):
        if sentences:
            yield table([heading], ([sentence] for sentence in sentences))
    if not report["problems"]:
        yield "Nothing has changed since it was registered."
