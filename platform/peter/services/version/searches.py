"""One search: its plan as a run keeps it, its trials in the workers, in the registry and on the bar."""

import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from threading import Event
from typing import Any

from sqlalchemy.orm import Session

from peter.config import to_dict
from peter.distributed.trial import Epoch
from peter.distributed.tune import Outcome, Search, Standing, search
from peter.errors import PeterError
from peter.methods import method
from peter.progress import Bar, Progress, Silent
from peter.registry import models, patches, runs, trials
from peter.schedule import CHANGING, SCHEDULE
from peter.services.patch.fitting import epochs
from peter.services.patch.recipes import Recipe
from peter.services.patch.requests import Request
from peter.services.running import RESUME
from peter.services.workspace import Address, Workspace
from peter.space import Space, ends, from_json
from peter.training.checkpoint import Checkpoint


@dataclass(frozen=True)
class Plan:
    """What is searched and what becomes of the best; the run's row holds it, so that it can be resumed."""

    patch: str  # the version whose recipe is changed: the task's champion may be another by now
    backbone: str
    method: str
    space: dict[str, Any]  # by setting, as a space file has it
    search: str
    trials: int
    seed: int
    seeds: int
    time_budget: float | None
    promote: bool

    def to_json(self) -> dict[str, Any]:
        """As the run keeps it."""
        return to_dict(self)

    def search_of(self, recipe: Recipe, at_once: int) -> Search:
        """What the workers are to do."""
        space = from_json(self.space)
        epochs = _longest(space, recipe)
        return Search(space, self.search, self.trials, epochs, self.seed, self.time_budget, at_once)


def scores(
    context: Mapping[str, Any], config: Mapping[str, Any], saved: Checkpoint | None
) -> Iterator[Epoch]:
    """One trial in a worker: validation scores, epoch by epoch, of the patch's recipe changed by `config`."""
    place = (Address(**context["workspace"]), context["patch"])
    recipe = changed(_recipe(*place), config, context["seed"])
    recipe = replace(recipe, fit=replace(recipe.fit, threads=1))  # trials share the machine
    kind: Any = recipe.kind
    request = replace(_request(*place, kind), recipe=recipe)
    patch = method(recipe.method).build(request.setting, recipe.options)
    for report in epochs(patch, recipe, request.setting, request.users, Silent(), saved):
        yield Epoch(report.valid_score, report.kept, report.checkpoint)


def changed(recipe: Recipe, config: Mapping[str, Any], seed: int) -> Recipe:
    """The recipe of a trial; where it varies what may be scheduled, the recipe's own schedule goes."""
    own = {SCHEDULE: ""} if config.keys() & set(CHANGING) else {}
    return recipe.changed({**own, **config}).seeded(seed)


def searched(
    workspace: Workspace,
    plan: Plan,
    recipe: Recipe,
    run: models.Run,
    at_once: int,
    stop: Event,
    progress: Progress,
) -> list[Outcome]:
    """All outcomes of a search, begun or gone on with, on the cluster that the caller is connected to.

    Raises:
        KeyboardInterrupt: `stop` was set.
        PeterError: no trial has a score, or some were lost with their workers.
    """
    context = {
        "workspace": asdict(Address.of(workspace)),
        "patch": plan.patch,
        "seed": plan.seed,
    }
    directory, wanted = workspace.run_directory(run.id), plan.search_of(recipe, at_once)
    with progress.bar(f"tune {run.subject}", plan.trials, "trials") as bar:
        watcher = Watcher.of(workspace, run, bar, recipe.kind.primary, plan.time_budget)
        found = [
            watcher.best(outcome) for outcome in search(scores, context, wanted, directory, watcher, stop)
        ]
    lost = sum(outcome.lost for outcome in found)
    if lost:
        again = RESUME["tune"].format(run=run.id)
        raise PeterError(f"{lost} of {len(found)} trials lost their workers; go on with `{again}`.")
    if all(outcome.score is None for outcome in found):
        told = next((outcome.error for outcome in found if outcome.error), "no trial finished an epoch")
        raise PeterError(f"No trial for {run.subject} succeeded: {told}; see {directory}.")
    return found


@dataclass
class Watcher:
    """Keeps the registry's trials and the bar up to date, in the driver; see `distributed.tune.Observer`."""

    workspace: Workspace
    run_id: int
    bar: Bar
    metric: str
    deadline: float = math.inf
    begun: set[str] = field(default_factory=set)  # trials, by name
    stood: dict[str, Standing] = field(default_factory=dict)  # how each stood at its best
    finished: set[str] = field(default_factory=set)
    early: set[str] = field(default_factory=set)

    @classmethod
    def of(
        cls, workspace: Workspace, run: models.Run, bar: Bar, metric: str, budget: float | None
    ) -> "Watcher":
        """With what is known of a run that is resumed."""
        with workspace.registry.read() as session:
            known = {trial.name: trial for trial in trials.of(session, run.id)}
        watcher = cls(workspace, run.id, bar, metric, time.monotonic() + (budget or math.inf))
        watcher.begun = set(known)
        watcher.stood = {
            name: Standing(trial.config, trial.metrics["curve"], trial.metrics["score"])
            for name, trial in known.items()
            if trial.metrics
        }
        watcher.finished = {name for name, trial in known.items() if trial.state in ("done", "failed")}
        bar.advance(len(watcher.finished), watcher.note())
        return watcher

    def started(self, name: str, config: Mapping[str, Any]) -> None:
        """A trial began, or began again."""
        self.begun.add(name)
        self.stood.pop(name, None)
        self._took_back(name)

        def note(session: Session) -> None:
            trials.begin(session, self.run_id, name, dict(config))
            runs.heartbeat(session, self.run_id)

        self.workspace.registry.write(note)

    def reported(self, name: str, standing: Standing) -> None:
        """A trial finished an epoch; one that took over a worse state is shown as it stood at its best."""
        self._took_back(name)
        known = self.stood.get(name)
        best = self.stood[name] = known if known and known.kept < standing.kept else standing
        metrics = {"score": best.kept, "curve": best.curve}

        def note(session: Session) -> None:
            trials.update(session, self.run_id, name, "running", metrics, config=best.config)
            runs.heartbeat(session, self.run_id)

        self.workspace.registry.write(note)
        self.bar.advance(0, self.note())

    def ended(self, name: str, early: bool, error: str | None) -> None:
        """A trial came to its end, was stopped, or failed; one that never began is none."""
        if name not in self.begun:
            return
        state = "failed" if error else "done"
        self.workspace.registry.write(
            lambda session: trials.update(session, self.run_id, name, state, error=error)
        )
        self.early |= {name} if early else set()
        advanced = name not in self.finished
        self.finished.add(name)
        self.bar.advance(int(advanced), self.note())

    def best(self, outcome: Outcome) -> Outcome:
        """The outcome, or how the trial stood before it took over a state that ended worse."""
        stood = self.stood.get(outcome.name)
        if stood is None or outcome.score is None or outcome.score <= stood.kept:
            return outcome
        return replace(outcome, config=stood.config, score=stood.kept)

    def note(self) -> str:
        """`log_loss 0.5312, 2 running, 3 stopped early, 40 s of the budget left`."""
        scores = [standing.kept for standing in self.stood.values()]
        parts = [f"best {self.metric} {abs(min(scores)):.4f}"] if scores else []
        parts.append(f"{len(self.begun - self.finished)} running")
        parts.append(f"{len(self.early)} stopped early")
        if self.deadline < math.inf:
            parts.append(f"{max(0.0, self.deadline - time.monotonic()):.0f} s of the budget left")
        return ", ".join(parts)

    def _took_back(self, name: str) -> None:
        if name in self.finished:
            self.finished.discard(name)
            self.bar.advance(-1)


@cache
def _recipe(address: Address, reference: str) -> Recipe:
    """A version's own recipe; read once in a worker, whatever number of trials it runs."""
    with address.open().registry.read() as session:
        return Recipe.of(patches.get(session, reference))


@cache
def _request(address: Address, reference: str, kind: Any) -> Request:
    """A version's own request as that kind, a frozen dataclass, reads its labels."""
    workspace = address.open()
    with workspace.registry.read() as session:
        patch = patches.get(session, reference)
    return Request.after(workspace, patch, recipe=replace(Recipe.of(patch), kind=kind))


def _longest(space: Space, recipe: Recipe) -> int:
    """Epochs of a trial at most."""
    return max(ends(space["epochs"])) if "epochs" in space else recipe.fit.epochs
