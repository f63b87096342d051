"""`peter user`: what a person may ask of a company that keeps their data."""

from typing import Annotated

import typer

from ._options import (
    DEFAULT_REGISTRY,
    ForceOption,
    JsonOption,
    RayOption,
    RegistryOption,
    StoreOption,
    open_workspace,
)
from ._output import Document, Drawing, facts, show, table

app = typer.Typer(help="Do what users ask for themselves.", no_args_is_help=True, rich_markup_mode=None)


@app.command(epilog="Example: peter user forget 42 --refit")
def forget(
    user: Annotated[str, typer.Argument(metavar="USER", help="The user's id, as in the event log.")],
    refit: Annotated[
        bool, typer.Option("--refit", help="Fit champions again that learnt from the user.")
    ] = False,
    ray: RayOption = None,
    force: ForceOption = False,
    registry: RegistryOption = DEFAULT_REGISTRY,
    store: StoreOption = None,
    json: JsonOption = False,
) -> None:
    """Forget a user.

    Removes every event, label and answer of the user from all versions, and leaves them out of whatever is
    read from now on. Names what learnt from them. Killed at any point, it goes on when typed again.
    """
    from peter.services.lifecycle.forget import forget

    from ._progress import progress

    document = forget(open_workspace(registry, store), user, refit, force, ray, progress())
    show(document, json, _drawn)
    if any("error" in task for task in document["refitted"]):
        raise typer.Exit(1)


def _drawn(document: Document) -> Drawing:
    when = document["requested"][:10]
    yield f"The user was forgotten before, on {when}." if document["again"] else "The user is forgotten."
    yield facts({"removed_from": [*document["event_logs"], *document["label_sets"]]})
    if backbones := document["backbones"]:
        yield (
            f"Pre-trained on the user's events too, which their weights may tell of: {', '.join(backbones)}; "
            "pre-train another and type `peter backbone migrate OLD NEW`."
        )
    yield "Backups of the registry and of the store hold the user until they expire."
    if document["refitted"]:
        yield table(["task", "version", "champion", "why"], map(_line, document["refitted"]))
    elif document["patches"]:
        yield f"Learnt from the user: {', '.join(document['patches'])}."
        yield "Next: peter user forget USER --refit, which fits their champions again."


def _line(task: Document) -> list[object]:
    return [task["name"], task.get("version"), task.get("promoted"), task.get("reason", task.get("error"))]
