"""`peter tune`: search for better patches."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from peter.errors import InputError

from ._options import (
    DEFAULT_REGISTRY,
    ForceOption,
    JsonOption,
    RayOption,
    RegistryOption,
    SeedOption,
    StoreOption,
    given,
    open_workspace,
)
from ._output import Document, Drawing, show, table

RESUMED = {"resume", "ray", "force", "registry", "store", "json"}  # what may stand beside --resume


NamesArgument = Annotated[
    list[str] | None, typer.Argument(metavar="[TASK..]", help="The tasks; every task if none is named.")
]
TrialsOption = Annotated[int, typer.Option("--trials", min=1, help="Configurations to try for each task.")]
SearchOption = Annotated[
    Literal["optuna", "random", "pbt"],
    typer.Option(
        "--search",
        help="Who proposes them, ASHA stopping the hopeless ones; or population based training of all.",
    ),
]
SpaceOption = Annotated[
    Path | None,
    typer.Option("--space", metavar="FILE", help="TOML: what to vary; the method's own if not given."),
]
BestSeedsOption = Annotated[
    int, typer.Option("--seeds", min=1, help="Fits of the best configuration; means are reported.")
]
BudgetOption = Annotated[
    float | None,
    typer.Option("--time-budget", min=1, metavar="SECONDS", help="End the search for a task after this."),
]
PromoteOption = Annotated[
    bool, typer.Option("--promote/--no-promote", help="Whether a better version becomes champion.")
]
ResumeOption = Annotated[
    int | None, typer.Option("--resume", metavar="RUN", help="Go on with this run, as it was planned.")
]


def tune(
    context: typer.Context,
    names: NamesArgument = None,
    trials: TrialsOption = 32,
    search: SearchOption = "optuna",
    space: SpaceOption = None,
    seed: SeedOption = 0,
    seeds: BestSeedsOption = 1,
    time_budget: BudgetOption = None,
    promote: PromoteOption = True,
    resume: ResumeOption = None,
    ray: RayOption = None,
    force: ForceOption = False,
    registry: RegistryOption = DEFAULT_REGISTRY,
    store: StoreOption = None,
    json: JsonOption = False,
) -> None:
    """Search for better patches.

    The best configuration found is trained again and registered as the next version of its task. A line of
    a space file is a key of --set with what it may be: `reduction = [4, 8]`, or
    `dropout = {low = 0.0, high = 0.5}`, or `learning_rate = {low = 1e-4, high = 1e-2, log = true}`.

    With --search pbt, trials that fall behind go on from the state of those that lead, by other values of
    learning_rate, weight_decay and dropout. What the best has followed is its version's --set schedule.
    """
    odd = given(context) - RESUMED
    if resume is not None and odd:
        raise InputError(
            f"Run {resume} goes on as it was planned, so {', '.join(sorted(odd))} cannot be given; "
            f"type `peter tune --resume {resume}`."
        )
    from peter.services.version import tune

    from ._progress import progress

    workspace = open_workspace(registry, store)
    if resume is not None:
        found = tune.resume(workspace, resume, ray, force, progress())
    else:
        found = tune.tune(
            workspace, names or [], search, space, trials, seed, seeds, time_budget, promote, ray, force,
            progress(),
        )  # fmt: skip
    show(found, json, _drawn)


def _drawn(document: Document) -> Drawing:
    yield table(
        ["task", "run", "trials", "version", "champion", "why"],
        (
            [
                task["name"],
                str(task["run"]),
                f"{task['trials']}/{task['planned']}{' (time was up)' if task['time_up'] else ''}",
                task["version"],
                task["promoted"],
                task["reason"],
            ]
            for task in document["tasks"]
        ),
    )
    yield "Next: peter run show ID, for every trial."
