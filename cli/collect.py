"""`peter gc`: remove what nothing needs."""

from typing import Annotated

import typer

from ._options import DEFAULT_REGISTRY, JsonOption, RegistryOption, StoreOption, open_workspace
from ._output import facts, show


def collect(
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Tell how many objects and bytes would go; remove none.")
    ] = False,
    registry: RegistryOption = DEFAULT_REGISTRY,
    store: StoreOption = None,
    json: JsonOption = False,
) -> None:
    """Remove stored objects that nothing refers to.

    Safe beside other programs: it waits for their writes and they wait for it. What `peter verify --repair`
    put into quarantine/ stays there.
    """
    from peter.services.integrity import upkeep

    found = upkeep.collect(open_workspace(registry, store), dry_run)
    show(found, json, lambda document: iter([facts(document)]))
