"""`peter verify`: hold everything that is stored against its hash and its certificate."""

from typing import Annotated

import typer

from ._options import DEFAULT_REGISTRY, JsonOption, RegistryOption, StoreOption, open_workspace
from ._output import Document, Drawing, facts, show, table


def verify(
    quick: Annotated[
        bool, typer.Option("--quick", help="Hash the objects; recompute no certificate.")
    ] = False,
    registry: RegistryOption = DEFAULT_REGISTRY,
    store: StoreOption = None,
    json: JsonOption = False,
) -> None:
    """Prove that nothing stored has changed.

    Hashes every object again and recomputes every champion's certificate; exits 1 when something is wrong.
    """
    from peter.services.verify import verify

    from ._progress import progress

    report = verify(open_workspace(registry, store), quick, progress())
    show(report, json, _drawn)
    if report["problems"]:
        raise typer.Exit(1)


def _drawn(report: Document) -> Drawing:
    yield facts({"checked": report["checked"]})
    if report["problems"]:
        yield table(["problem"], ([problem] for problem in report["problems"]))
    else:
        yield "Nothing has changed since it was registered."
