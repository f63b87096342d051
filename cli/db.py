"""`peter db`: the registry database's schema."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from peter.errors import NotInitialised

from ._group import noun
from ._options import DEFAULT_REGISTRY, JsonOption, RegistryOption
from ._output import Document, Drawing, facts, show

if TYPE_CHECKING:
    from peter.registry.database import Registry
    from peter.registry.schema import Status

app = noun("Look after the registry database.")


@app.command(epilog="Example: peter db status --registry sqlite:///.peter/registry.db")
def status(registry: RegistryOption = DEFAULT_REGISTRY, json: JsonOption = False) -> None:
    """Compare the schema with this program's."""
    from peter.registry.database import Registry

    database = Registry(registry)
    show(_document(database, _present(database)), json, _drawn)


@app.command(epilog="Example: peter db upgrade")
def upgrade(registry: RegistryOption = DEFAULT_REGISTRY, json: JsonOption = False) -> None:
    """Bring an older schema up to date.

    All of it in one transaction.
    """
    from peter.registry import schema
    from peter.registry.database import Registry

    database = Registry(registry)
    _present(database)  # a mistyped path must not become an empty registry
    show(_document(database, schema.upgrade(database)), json, _drawn)


@app.command(epilog="Example: peter db backup registry-backup.db")
def backup(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A new file.")],
    registry: RegistryOption = DEFAULT_REGISTRY,
    json: JsonOption = False,
) -> None:
    """Copy an embedded registry to a file.

    The copy is whole although others write meanwhile. To restore, put the file in the registry's place; the
    store's objects are plain files to copy.
    """
    from peter.registry import backup as service
    from peter.registry.database import Registry

    database = Registry(registry)
    _present(database)
    service.backup(database, file)
    show({"registry": str(database), "backup": str(file)}, json, lambda document: iter([facts(document)]))


def _present(database: "Registry") -> "Status":
    from peter.registry import schema

    found = schema.status(database)
    if found.current is None:
        raise NotInitialised(f"There is no registry at {database}; run `peter init`.")
    return found


def _document(database: "Registry", found: "Status") -> Document:
    return {
        "registry": str(database),
        "schema": found.current,
        "newest": found.known[-1],
        "pending": found.pending,
    }


def _drawn(document: Document) -> Drawing:
    yield facts(document)
    if document["pending"]:
        yield "Next: peter db upgrade"
