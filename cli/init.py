"""`peter init`: make the workspace."""

from ._options import DEFAULT_REGISTRY, JsonOption, RegistryOption, StoreOption
from ._output import Document, Drawing, facts, show


def init(
    registry: RegistryOption = DEFAULT_REGISTRY, store: StoreOption = None, json: JsonOption = False
) -> None:
    """Make a workspace.

    One that exists is left as it is.
    """
    from peter.services.workspace import Workspace

    workspace = Workspace.create(registry, store)
    show({"registry": str(workspace.registry), "store": str(workspace.objects)}, json, _drawn)


def _drawn(document: Document) -> Drawing:
    yield facts(document)
    yield "Next: peter data import FILE --name NAME, or peter demo."
