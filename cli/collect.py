"""`peter gc`: remove what nothing needs."""

from ._options import DEFAULT_REGISTRY, JsonOption, RegistryOption, StoreOption, open_workspace
from ._output import facts, show


def collect(
    registry: RegistryOption = DEFAULT_REGISTRY, store: StoreOption = None, json: JsonOption = False
) -> None:
    """Remove stored objects that nothing refers to.

    Safe beside other programs: it waits for their writes and they wait for it.
    """
    from peter.services import upkeep

    show(upkeep.collect(open_workspace(registry, store)), json, lambda document: iter([facts(document)]))
