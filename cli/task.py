"""`peter task`: the questions about users, and the patches that answer them."""

from typing import Annotated

import typer

from ._group import noun
from ._metrics import metric_table
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
    RegistryOption,
    SeedOption,
    SetOption,
    StoreOption,
    open_workspace,
)
from ._output import Document, Drawing, facts, minute, show, table

app = noun("Add tasks, train and promote patches.")


@app.command("list", epilog="Example: peter task list --json")
def list_(
    registry: RegistryOption = DEFAULT_REGISTRY, store: StoreOption = None, json: JsonOption = False
) -> None:
    """List the tasks and their champions."""
    from peter.services import tasks

    show(tasks.list_tasks(open_workspace(registry, store)), json, _drawn_list)


@app.command("show", epilog="Example: peter task show gender")
def show_(
    name: NameArgument,
    registry: RegistryOption = DEFAULT_REGISTRY,
    store: StoreOption = None,
    json: JsonOption = False,
) -> None:
    """Show a task beside the baselines."""
    from peter.services import tasks

    show(tasks.show_task(open_workspace(registry, store), name), json, _drawn_task)


@app.command(epilog="Example: peter task versions gender")
def versions(
    name: NameArgument,
    registry: RegistryOption = DEFAULT_REGISTRY,
    store: StoreOption = None,
    json: JsonOption = False,
) -> None:
    """List the versions of a task's patch."""
    from peter.services import tasks

    show(tasks.versions(open_workspace(registry, store), name), json, _drawn_versions)


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
    from peter.services import tasks

    workspace = open_workspace(registry, store)
    show(tasks.check_labels(workspace, labels, column, kind, backbone), json, _drawn_report)


@app.command(epilog="Example: peter task add gender --labels gender.csv --owner growth")
def add(
    name: NameArgument,
    labels: LabelsOption,
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
    force: ForceOption = False,
    registry: RegistryOption = DEFAULT_REGISTRY,
    store: StoreOption = None,
    json: JsonOption = False,
) -> None:
    """Add a task.

    Trains a patch on the labels beside the frozen backbone, evaluates it against the baselines on users that
    nobody was trained on, and makes it champion.
    """
    from peter.services import train

    from ._progress import progress

    document = train.add_task(
        open_workspace(registry, store), name, labels, column, kind, method, backbone, owner, description,
        sensitive, settings, seed, force, progress(),
    )  # fmt: skip
    show(document, json, _drawn_trained)


@app.command("train", epilog="Example: peter task train gender --labels gender-2024.csv")
def train_(
    name: NameArgument,
    labels: NewLabelsOption = None,
    column: ColumnOption = None,
    method: Annotated[
        str | None, typer.Option("--method", help="Another way to graft; the champion's if not given.")
    ] = None,
    backbone: BackboneOption = None,
    settings: SetOption = None,
    seed: Annotated[
        int | None,
        typer.Option("--seed", min=0, help="Of everything drawn at random; as before if not given."),
    ] = None,
    force: ForceOption = False,
    promote: Annotated[
        bool, typer.Option("--promote/--no-promote", help="Whether the version may become champion.")
    ] = True,
    registry: RegistryOption = DEFAULT_REGISTRY,
    store: StoreOption = None,
    json: JsonOption = False,
) -> None:
    """Train a new version.

    It becomes champion only when validation users say that it is better.
    """
    from peter.services import train

    from ._progress import progress

    workspace = open_workspace(registry, store)
    document = train.train_task(
        workspace, name, labels, column, method, backbone, settings, seed, force, promote, progress()
    )
    show(document, json, _drawn_trained)


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
    from peter.services import promote

    show(promote.promote(open_workspace(registry, store), version, force, why), json, _drawn_task)


@app.command(epilog="Example: peter task rollback gender")
def rollback(
    name: NameArgument,
    force: ForceOption = False,
    registry: RegistryOption = DEFAULT_REGISTRY,
    store: StoreOption = None,
    json: JsonOption = False,
) -> None:
    """Make the previous champion champion again."""
    from peter.services import promote

    show(promote.rollback(open_workspace(registry, store), name, force), json, _drawn_task)


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
    from peter.services.upkeep import remove_task

    removed = remove_task(open_workspace(registry, store), name, force)
    show(removed, json, lambda document: iter([facts(document)]))


def _drawn_list(document: Document) -> Drawing:
    columns = ("name", "kind", "owner", "champion", "backbone")
    yield table(
        [*columns, "updated (UTC)"],
        ([*(task[column] for column in columns), minute(task["updated"])] for task in document["tasks"]),
    )


def _drawn_versions(document: Document) -> Drawing:
    columns = ("version", "champion", "method", "backbone", "params", "gate")
    yield table(
        [*columns, "created (UTC)"],
        ([*(row[column] for column in columns), minute(row["created"])] for row in document["versions"]),
        right=["params"],
    )


def _drawn_task(document: Document) -> Drawing:
    shown = ("champion", "versions", "report")
    yield facts({name: value for name, value in document.items() if name not in shown})
    if document["champion"]:
        yield from metric_table({document["name"]: document["champion"]})
    yield from _drawn_versions(document)


def _drawn_trained(document: Document) -> Drawing:
    report = document["report"]
    yield from metric_table({document["name"]: report})
    outcome = "is champion" if report["promoted"] else "stays a candidate"
    yield f"{document['name']}@{report['version']} {outcome}: {report['reason']}."
    yield f"Next: peter {'profile get USER' if report['promoted'] else 'task versions ' + document['name']}"


def _drawn_report(report: Document) -> Drawing:
    yield facts(report)
