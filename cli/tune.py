"""`peter tune`: search for better patches."""

from typing import Annotated

import typer

from ._options import (
    DEFAULT_REGISTRY,
    ForceOption,
    JsonOption,
    RegistryOption,
    SeedOption,
    StoreOption,
    open_workspace,
)
from ._output import Document, Drawing, show, table


def tune(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[TASK..]", help="The tasks; every task if none is named.")
    ] = None,
    trials: Annotated[int, typer.Option("--trials", min=1, help="Configurations to try for each task.")] = 32,
    seed: SeedOption = 0,
    time_budget: Annotated[
        float | None,
        typer.Option("--time-budget", min=1, metavar="SECONDS", help="Start no trial of a task after this."),
    ] = None,
    promote: Annotated[
        bool, typer.Option("--promote/--no-promote", help="Whether a better version becomes champion.")
    ] = True,
    ray: Annotated[
        str | None,
        typer.Option(
            "--ray", envvar="RAY_ADDRESS", metavar="ADDRESS", help="A Ray cluster; this machine if not given."
        ),
    ] = None,
    force: ForceOption = False,
    registry: RegistryOption = DEFAULT_REGISTRY,
    store: StoreOption = None,
    json: JsonOption = False,
) -> None:
    """Search for better patches.

    The best configuration found is trained again and registered as the next version of its task.
    """
    from peter.services import tune

    from ._progress import progress

    workspace = open_workspace(registry, store)
    found = tune.tune(workspace, names or [], trials, seed, time_budget, promote, ray, force, progress())
    show(found, json, _drawn)


def _drawn(document: Document) -> Drawing:
    yield table(
        ["task", "run", "trials", "version", "champion", "why"],
        (
            [
                task["name"],
                str(task["run"]),
                task["trials"],
                task["version"],
                task["promoted"],
                task["reason"],
            ]
            for task in document["tasks"]
        ),
    )
    yield "Next: peter run show ID, for every trial."
