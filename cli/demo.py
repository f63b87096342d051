"""`peter demo`: the whole path on real data."""

from typing import Annotated

import typer

from ._cards import card
from ._metrics import metric_table
from ._options import DEFAULT_REGISTRY, JsonOption, RegistryOption, StoreOption
from ._output import Document, Drawing, show


def demo(
    data: Annotated[
        str,
        typer.Option(
            "--data",
            help="movielens-100k, complete-journey, complete-journey-cross, or synthetic (needs no package).",
        ),
    ] = "movielens-100k",
    registry: RegistryOption = DEFAULT_REGISTRY,
    store: StoreOption = None,
    json: JsonOption = False,
) -> None:
    """Go the whole way once, on real data.

    Imports the events, pre-trains a backbone, adds the profile tasks and shows some users' profiles. What it
    makes is an ordinary workspace.
    """
    from peter.services.demo import demo
    from peter.services.workspace import Workspace

    from ._progress import progress

    show(demo(Workspace.create(registry, store), data, progress()), json, _drawn)


def _drawn(document: Document) -> Drawing:
    yield from metric_table({task["name"]: task["champion"] for task in document["tasks"]})
    yield from map(card, document["users"])
    yield "Next:"
    yield from (f"  {command}" for command in document["next"])
