"""`peter backbone`: the frozen sequence models that every patch reads."""

from typing import Annotated

import typer

from peter.config import BackboneConfig, PretrainConfig, from_options
from peter.errors import InputError

from ._group import noun
from ._options import (
    DEFAULT_REGISTRY,
    ForceOption,
    JsonOption,
    RayOption,
    RegistryOption,
    SeedOption,
    SetOption,
    StoreOption,
    WorkersOption,
    open_workspace,
)
from ._output import Document, Drawing, facts, minute, show, table
from ._tree import drawn_tree

BAR, WIDTH = "█", 40
ABSENT = {"sasrec": ("kernel", "dilations")}  # settings that an architecture does not have

app = noun("Pre-train backbones and look at them.")


@app.command("list", epilog="Example: peter backbone list --json")
def list_(
    registry: RegistryOption = DEFAULT_REGISTRY, store: StoreOption = None, json: JsonOption = False
) -> None:
    """List the backbones."""
    from peter.services.backbone import backbones

    show(backbones.list_backbones(open_workspace(registry, store)), json, _drawn_list)


@app.command("show", epilog="Example: peter backbone show movies@1")
def show_(
    backbone: Annotated[str, typer.Argument(metavar="NAME[@VERSION]", help="The backbone.")],
    registry: RegistryOption = DEFAULT_REGISTRY,
    store: StoreOption = None,
    json: JsonOption = False,
) -> None:
    """Show a backbone's shape, hashes and metrics."""
    from peter.services.backbone import backbones

    show(backbones.show_backbone(open_workspace(registry, store), backbone), json, _drawn_backbone)


@app.command(epilog="Example: peter backbone tree movies")
def tree(
    backbone: Annotated[
        str | None, typer.Argument(metavar="NAME[@VERSION]", help="The backbone; all if not given.")
    ] = None,
    registry: RegistryOption = DEFAULT_REGISTRY,
    store: StoreOption = None,
    json: JsonOption = False,
) -> None:
    """Draw what came out of what.

    Event logs, the backbones learnt from each, the patches on these, and the patches that read others.
    """
    from peter.services.backbone import backbones

    show(backbones.tree(open_workspace(registry, store), backbone), json, drawn_tree)


@app.command(epilog="Example: peter backbone pretrain movies --channels 64 --epochs 20")
def pretrain(
    data: Annotated[
        str | None, typer.Argument(metavar="DATA", help="The event log, NAME or NAME@VERSION.")
    ] = None,
    name: Annotated[
        str | None, typer.Option("--name", help="The backbone's name; the event log's if not given.")
    ] = None,
    objective: Annotated[
        str, typer.Option(help="next-item, gap-fill, contrastive, next-item+contrastive, or item-feature.")
    ] = PretrainConfig.objective,
    architecture: Annotated[str, typer.Option(help="nextitnet or sasrec.")] = BackboneConfig.architecture,
    channels: Annotated[int, typer.Option(min=1, help="Width of the body.")] = BackboneConfig.channels,
    blocks: Annotated[
        int, typer.Option(min=1, help="Residual blocks, two sub-layers each.")
    ] = BackboneConfig.blocks,
    causal: Annotated[
        bool, typer.Option("--causal/--no-causal", help="Whether a position sees only what came before.")
    ] = BackboneConfig.causal,
    epochs: Annotated[int, typer.Option(min=1, help="At most so many passes.")] = PretrainConfig.epochs,
    seed: SeedOption = PretrainConfig.seed,
    settings: SetOption = None,
    workers: WorkersOption = 1,
    ray: RayOption = None,
    resume: Annotated[
        int | None, typer.Option("--resume", metavar="RUN", help="Go on with this interrupted run.")
    ] = None,
    registry: RegistryOption = DEFAULT_REGISTRY,
    store: StoreOption = None,
    json: JsonOption = False,
) -> None:
    """Pre-train a backbone and freeze it.

    Learns from an event log what users do next, freezes the weights and registers them; or, by contrastive
    (CLUE), that two views of a user are one; or, by item-feature (ANT), what users do next from what is known
    of items, also of those that come later. More workers take the same steps as one, faster, and each needs a
    core; a run may go on with another number of them.
    """
    if (data is None) == (resume is None):
        raise InputError(
            "Name either the event log to pre-train on, `peter backbone pretrain DATA`, "
            "or the run to go on with, `peter backbone pretrain --resume RUN`."
        )
    from peter.services.backbone import pretrain as service
    from peter.services.crew import Crew

    from ._progress import progress

    workspace, crew = open_workspace(registry, store), Crew(workers, ray)
    if resume is not None:
        document = service.resume(workspace, resume, progress(), crew)
    else:
        assert data is not None
        shape, training = from_options(
            settings or [],
            BackboneConfig(architecture, channels, blocks, causal=causal),
            PretrainConfig(objective=objective, epochs=epochs, seed=seed),
        )
        called = name or data.partition("@")[0]
        document = service.pretrain(workspace, data, called, shape, training, progress(), crew)
    show(document, json, _drawn_pretrained)


@app.command(epilog="Example: peter backbone migrate movies@1 movies@2")
def migrate(
    old: Annotated[str, typer.Argument(metavar="OLD", help="The backbone that champions read now.")],
    new: Annotated[str, typer.Argument(metavar="NEW", help="The one that they are to read.")],
    ray: RayOption = None,
    force: ForceOption = False,
    registry: RegistryOption = DEFAULT_REGISTRY,
    store: StoreOption = None,
    json: JsonOption = False,
) -> None:
    """Move every task to another backbone.

    Fits each champion again on NEW, side by side, and promotes task by task where its users lose nothing. A
    task that is not promoted, or cannot be fitted, stays on OLD and keeps answering.
    """
    from peter.services.lifecycle.migrate import migrate

    from ._progress import progress

    document = migrate(open_workspace(registry, store), old, new, force, ray, progress())
    show(document, json, _drawn_migrated)


def _drawn_list(document: Document) -> Drawing:
    counted = {"parameters": "params", "patches": "patches", "champions": "champions"}
    yield table(
        ["backbone", "event log", "objective", *counted, "frozen (UTC)"],
        (
            [
                f"{row['name']}@{row['version']}",
                *(row[column] for column in ("event_log", "objective", *counted.values())),
                minute(row["frozen"]),
            ]
            for row in document["backbones"]
        ),
        right=list(counted),
    )


def _drawn_backbone(document: Document) -> Drawing:
    apart = ("metrics", "collapsed", "read_by", "capacity")
    features = ", ".join(f"{name} ({width} numbers)" for name, width in document["features"].items())
    absent = ABSENT.get(document["architecture"]["architecture"], ())
    shape = {name: value for name, value in document["architecture"].items() if name not in absent}
    told = {**document, "features": features, "architecture": shape}
    yield facts({name: value for name, value in told.items() if name not in apart and value not in ("", {})})
    valid, test = document["metrics"]["valid"], document["metrics"]["test"]
    yield table(
        ["metric", "validation users", "test users"],
        ([name, valid[name], test.get(name)] for name in valid),
        right=["validation users", "test users"],
    )
    if document["collapsed"]:
        channels, remedies = document["architecture"]["channels"], " or ".join(_remedies(document))
        yield (
            f"The views collapsed: users differ by {valid['deviation']:.2f} of 1, in {valid['rank']:.1f} of "
            f"{channels} directions; try {remedies}."
        )
    if readers := document.get("read_by"):
        columns = ("patch", "method", "champion")
        yield table(columns, ([row[column] for column in columns] for row in readers))
    if capacity := document.get("capacity"):
        yield from _drawn_capacity(capacity)


def _remedies(document: Document) -> list[str]:
    """Against collapse: what this backbone was not trained with; failing that, views that differ less."""
    untried = {
        "--objective next-item+contrastive": "next-item" not in document["objective"],
        "--set contrast=infonce": document["config"].get("contrast") != "infonce",
    }
    return [words for words, new in untried.items() if new] or ["a lower --set view_dropout"]


def _drawn_capacity(capacity: Document) -> Drawing:
    owners = [*capacity["owners"], {"owner": "free", "weights": None, "share": capacity["free"]}]
    rows = (
        [row["owner"], row["weights"], f"{row['share']:.1%}", BAR * round(WIDTH * row["share"])]
        for row in owners
    )
    yield table(
        ["owner", "weights", "share", f"of {capacity['weights']:,}"], rows, right=["weights", "share"]
    )


def _drawn_migrated(document: Document) -> Drawing:
    yield table(
        ["task", "from", "version", "champion", "gain on test users", "why"],
        (
            [
                task["name"],
                f"{task['name']}@{task['from']}",
                task["version"],
                task["promoted"],
                "{value:+.4f} [{low:+.4f}, {high:+.4f}]".format(**task["gain"]) if task["gain"] else None,
                task["reason"],
            ]
            for task in document["tasks"]
        ),
    )
    moved = sum(task["promoted"] for task in document["tasks"])
    yield f"{moved} of {len(document['tasks'])} tasks read {document['new']} now."
    yield "Next: peter task rollback NAME@VERSION, to take one back."


def _drawn_pretrained(document: Document) -> Drawing:
    yield from _drawn_backbone(document)
    yield f"Next: peter task add NAME --labels FILE --backbone {document['name']}@{document['version']}"
