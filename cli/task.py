"""`peter task`: the questions about users, and the patches that answer them."""

from pathlib import Path
from typing import Annotated

import typer

from peter.errors import InputError

from . import _tasks, _transfer
from ._compare import comparison
from ._group import noun
from ._options import (
    DEFAULT_REGISTRY,
    BackboneOption,
    ColumnOption,
    ForceOption,
    JsonOption,
    KindOption,
    LabelsOption,
    NameArgument,
    NewLabelsOption,
    NoTwinOption,
    RayOption,
    RegistryOption,
    SeedAsBeforeOption,
    SeedOption,
    SeedsOption,
    SetOption,
    StoreOption,
    WarmStartOption,
    open_workspace,
)
from ._output import facts, show

app = noun("Add tasks, train and promote patches.")


@app.command("list", epilog="Example: peter task list --json")
def list_(
    registry: RegistryOption = DEFAULT_REGISTRY, store: StoreOption = None, json: JsonOption = False
) -> None:
    """List the tasks and their champions."""
    from peter.services.task import tasks

    show(tasks.list_tasks(open_workspace(registry, store)), json, _tasks.task_list)


@app.command("show", epilog="Example: peter task show gender")
def show_(
    task: Annotated[
        str, typer.Argument(metavar="NAME[@VERSION]", help="The task, or NAME@3, NAME@challenger.")
    ],
    plots: Annotated[
        Path | None,
        typer.Option("--plots", metavar="DIR", help="Write its diagrams there, as PNG and SVG."),
    ] = None,
    registry: RegistryOption = DEFAULT_REGISTRY,
    store: StoreOption = None,
    json: JsonOption = False,
) -> None:
    """Show a task beside the baselines."""
    from peter.services.task import tasks

    looked_up = tasks.show_version if "@" in task else tasks.show_task
    document = looked_up(open_workspace(registry, store), task)
    if plots:
        from peter.services.task.plots import plot_shown

        document["plots"] = plot_shown(document, plots)
    show(document, json, _tasks.task)


@app.command(epilog="Example: peter task versions gender")
def versions(
    name: NameArgument,
    registry: RegistryOption = DEFAULT_REGISTRY,
    store: StoreOption = None,
    json: JsonOption = False,
) -> None:
    """List a task's versions and every promotion.

    Every move of champion and challenger stands below, with who made it and why.
    """
    from peter.services.task import tasks

    show(tasks.versions(open_workspace(registry, store), name), json, _tasks.version_list)


@app.command(epilog="Example: peter task check --labels gender.csv")
def check(
    labels: LabelsOption,
    column: ColumnOption = None,
    kind: KindOption = None,
    backbone: BackboneOption = None,
    registry: RegistryOption = DEFAULT_REGISTRY,
    store: StoreOption = None,
    json: JsonOption = False,
) -> None:
    """Look through a label file and change nothing.

    Reads it as `peter task add` would and reports what it found.
    """
    from peter.services.task import tasks

    workspace = open_workspace(registry, store)
    show(
        tasks.check_labels(workspace, labels, column, kind, backbone),
        json,
        lambda report: iter([facts(report)]),
    )


@app.command(epilog="Example: peter task add gender --labels gender.csv --owner growth")
def add(
    names: Annotated[list[str], typer.Argument(metavar="NAME..", help="The task, or several.")],
    labels: Annotated[
        list[Path],
        typer.Option(
            "--labels",
            metavar="FILE",
            help="Users and their labels: CSV, TSV, Parquet or RecBole .user; one for each task, in order.",
        ),
    ],
    column: ColumnOption = None,
    kind: KindOption = None,
    method: Annotated[
        str, typer.Option("--method", help="How the patch is grafted onto the backbone.")
    ] = "peter",
    backbone: BackboneOption = None,
    owner: Annotated[
        str | None, typer.Option("--owner", help="Who may change the task; you if not given.")
    ] = None,
    description: Annotated[
        str, typer.Option("--description", help="What the task means, for colleagues.")
    ] = "",
    sensitive: Annotated[
        bool, typer.Option("--sensitive", help="Mark the answers as sensitive personal data.")
    ] = False,
    settings: SetOption = None,
    seed: SeedOption = 0,
    seeds: SeedsOption = 1,
    warm_start: WarmStartOption = None,
    no_twin: NoTwinOption = False,
    ray: RayOption = None,
    force: ForceOption = False,
    registry: RegistryOption = DEFAULT_REGISTRY,
    store: StoreOption = None,
    json: JsonOption = False,
) -> None:
    """Add a task, or several at once.

    Trains a patch on the labels beside the frozen backbone, evaluates it against the baselines on users that
    nobody was trained on, and makes it champion. Several tasks, each with a --labels of its own, are trained
    side by side.
    """
    if len(set(names)) != len(labels) or len(names) != len(labels):
        raise InputError(
            f"{len(names)} tasks ({', '.join(names)}) and {len(labels)} label files; "
            "name every task once and give one --labels FILE for each, in the same order."
        )
    from peter.services.version import train

    from ._progress import progress

    workspace = open_workspace(registry, store)
    told = train.Told(owner or workspace.actor, description, sensitive)
    change = train.Change(method, settings or (), seed, seeds, not no_twin, warm_start)
    files = dict(zip(names, labels, strict=True))
    found = train.add_tasks(workspace, files, column, kind, backbone, told, change, force, ray, progress())
    _tasks.show_made(found, json, several=len(names) > 1)


@app.command("train", epilog="Example: peter task train gender --labels gender-2024.csv")
def train_(
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="The task.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Every task, side by side, in place of one.")] = False,
    labels: NewLabelsOption = None,
    column: ColumnOption = None,
    method: Annotated[
        str | None, typer.Option("--method", help="Another way to graft; the champion's if not given.")
    ] = None,
    backbone: BackboneOption = None,
    settings: SetOption = None,
    seed: SeedAsBeforeOption = None,
    seeds: Annotated[
        int | None,
        typer.Option("--seeds", min=1, help="Fits under so many seeds; as before if not given."),
    ] = None,
    no_twin: NoTwinOption = False,
    ray: RayOption = None,
    force: ForceOption = False,
    promote: Annotated[
        bool, typer.Option("--promote/--no-promote", help="Whether the version may become champion.")
    ] = True,
    registry: RegistryOption = DEFAULT_REGISTRY,
    store: StoreOption = None,
    json: JsonOption = False,
) -> None:
    """Train a new version of one task, or of all.

    It becomes champion only when validation users say that it is better.
    """
    if every == (name is not None) or (every and labels):
        raise InputError(
            "Name one task, `peter task train NAME [--labels FILE]`, or train every task on its own labels, "
            "`peter task train --all`."
        )
    from peter.services.version import train

    from ._progress import progress

    workspace = open_workspace(registry, store)
    change = train.Change(method, settings or (), seed, seeds, not no_twin)
    named = [name] if name else None
    found = train.train_tasks(
        workspace, named, labels, column, change, backbone, force, promote, ray, progress()
    )
    _tasks.show_made(found, json, several=every)


@app.command("compare", epilog="Example: peter task compare gender --methods peter,probe,full")
def compare_(
    name: NameArgument,
    methods: Annotated[
        str | None,
        typer.Option(
            "--methods", metavar="NAME,..", help="Compared with the first; all of them if not given."
        ),
    ] = None,
    settings: SetOption = None,
    seed: SeedAsBeforeOption = None,
    seeds: SeedsOption = 1,
    ray: RayOption = None,
    registry: RegistryOption = DEFAULT_REGISTRY,
    store: StoreOption = None,
    json: JsonOption = False,
) -> None:
    """Put methods side by side on a task.

    Fits each on the task's labels, backbone and split, and measures how well and how fast it answers. The
    champion's method has the champion's settings, every other its own defaults. Nothing is registered.
    """
    from peter.services.version.compare import compare

    from ._progress import progress

    chosen = None if methods is None else [each for each in methods.split(",") if each]
    workspace = open_workspace(registry, store)
    document = compare(workspace, name, chosen, settings or [], seed, seeds, ray, progress())
    show(document, json, comparison)


@app.command("promote", epilog="Example: peter task promote gender@3 --why 'new labels'")
def promote_(
    version: Annotated[str, typer.Argument(metavar="NAME@VERSION", help="The version to make champion.")],
    why: Annotated[str, typer.Option("--why", help="The reason, for the history.")] = "",
    force: ForceOption = False,
    registry: RegistryOption = DEFAULT_REGISTRY,
    store: StoreOption = None,
    json: JsonOption = False,
) -> None:
    """Make a version the champion."""
    from peter.services.promotion import promote

    show(promote.promote(open_workspace(registry, store), version, force, why), json, _tasks.promoted)


@app.command(epilog="Example: peter task rollback gender@3")
def rollback(
    version: Annotated[
        str,
        typer.Argument(metavar="NAME[@VERSION]", help="The version to leave; the champion's if not given."),
    ],
    force: ForceOption = False,
    registry: RegistryOption = DEFAULT_REGISTRY,
    store: StoreOption = None,
    json: JsonOption = False,
) -> None:
    """Make the previous champion champion again.

    NAME goes back one more whenever it is typed. NAME@VERSION changes nothing where that version was rolled
    back before, so it can be typed again after it was killed.
    """
    from peter.services.promotion import promote

    document = promote.rollback(open_workspace(registry, store), version, force)
    show(document, json, _tasks.rolled_back)


@app.command(epilog="Example: peter task remove gender")
def remove(
    name: NameArgument,
    force: ForceOption = False,
    registry: RegistryOption = DEFAULT_REGISTRY,
    store: StoreOption = None,
    json: JsonOption = False,
) -> None:
    """Retire a task.

    It answers no more, and keeps its name and its history.
    """
    from peter.services.integrity.upkeep import remove_task

    removed = remove_task(open_workspace(registry, store), name, force)
    show(removed, json, lambda document: iter([facts(document)]))


app.command("export", epilog="Example: peter task export gender ./gender-patch")(_transfer.export)
app.command("import", epilog="Example: peter task import ./gender-patch --owner growth")(_transfer.import_)
