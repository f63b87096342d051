"""`peter task export` and `import`: a version of a task from one registry to another."""

from pathlib import Path
from typing import Annotated

import typer

from . import _tasks
from ._options import (
    DEFAULT_REGISTRY,
    ForceOption,
    JsonOption,
    RegistryOption,
    StoreOption,
    open_workspace,
)
from ._output import Document, Drawing, facts, show


def export(
    version: Annotated[
        str, typer.Argument(metavar="NAME[@VERSION]", help="The task; its champion if no version is named.")
    ],
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="A new directory.")],
    with_labels: Annotated[
        bool, typer.Option("--with-labels", help="Also the labels of users: personal data.")
    ] = False,
    whole: Annotated[
        bool,
        typer.Option("--whole", help="With all that it reads of other tasks in it."),
    ] = False,
    registry: RegistryOption = DEFAULT_REGISTRY,
    store: StoreOption = None,
    json: JsonOption = False,
) -> None:
    """Write a version to a directory.

    In peft's layout, with a card, a certificate and hashes: any registry that has the backbone can import it.
    """
    from peter.services.transfer.exports import export_patch

    found = export_patch(open_workspace(registry, store), version, directory, with_labels, whole)
    show(found, json, _drawn_export)


def import_(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="What `peter task export` wrote.")],
    name: Annotated[
        str | None, typer.Option("--name", help="The task here; called as it was there if not given.")
    ] = None,
    owner: Annotated[
        str | None, typer.Option("--owner", help="Who may change a new task; you if not given.")
    ] = None,
    force: ForceOption = False,
    registry: RegistryOption = DEFAULT_REGISTRY,
    store: StoreOption = None,
    json: JsonOption = False,
) -> None:
    """Register an exported version.

    Once it has answered here as its certificate says. It becomes champion of a new task, and of one that has
    a champion the challenger.
    """
    from peter.services.transfer.imports import import_patch

    found = import_patch(open_workspace(registry, store), directory, name, owner, force)
    show(found, json, _tasks.trained)


def _drawn_export(document: Document) -> Drawing:
    yield facts(
        {name: value for name, value in document.items() if name in ("patch", "directory", "sensitive")}
    )
    yield facts(document["files"])
    if document["labels"]:
        yield "It holds labels of users by their ids: personal data, for nobody who may not have them."
    else:
        yield "It holds no labels: whoever imports it can use it, and needs labels to train the next version."
    yield f"Next: peter task import {document['directory']}, in another workspace"
