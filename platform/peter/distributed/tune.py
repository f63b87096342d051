"""Ray Tune, kept quiet: search a space of settings with trials that any process of a cluster can run."""

import json
import math
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Any, Protocol

from ray import tune
from ray.tune import (
    Callback,
    CheckpointConfig,
    FailureConfig,
    Result,
    RunConfig,
    TuneConfig,
    Tuner,
)
from ray.tune.experiment import Trial
from ray.tune.schedulers import ASHAScheduler
from ray.tune.search.basic_variant import BasicVariantGenerator
from ray.tune.search.optuna import OptunaSearch

from peter.distributed.population import population
from peter.distributed.trial import CURVE, FAULT, RECIPE, SCORE, TRACE, Start, trainable
from peter.space import Choice, Domain, LogUniform, Space, Whole

GRACE = 5  # epochs before a trial may be stopped: patches show a plateau and then a second rise
REDUCTION = 3  # of the trials that reach a rung, one in so many goes on
LOSSES = 2  # workers that may die under one trial before it is given up
CHECKPOINTS = 6  # of a trial; who takes one over does so before its donor has made so many more

PBT = "pbt"
PROPOSERS: Mapping[str, Callable[[int], Any]] = {
    "optuna": lambda seed: OptunaSearch(seed=seed),
    "random": lambda seed: BasicVariantGenerator(random_state=seed),
    PBT: lambda seed: BasicVariantGenerator(random_state=seed),
}


@dataclass(frozen=True)
class Search:
    """What to search, and how long."""

    space: Space
    proposer: str  # of PROPOSERS
    trials: int
    epochs: int  # of a trial at most
    seed: int
    time_budget: float | None  # seconds after which no trial goes on
    at_once: int  # trials; a population takes turns


@dataclass(frozen=True)
class Standing:
    """How a trial stands after an epoch; lower is better."""

    config: dict[str, Any]  # with the schedule that it has followed, if it took over another trial's state
    curve: list[float]  # of all epochs that led to its state
    kept: float  # of the epoch that stands


@dataclass(frozen=True)
class Outcome:
    """How one trial went."""

    config: dict[str, Any]  # that leads to its score
    score: float | None  # of the state it ended with; None where it did not finish an epoch
    error: str | None  # why it failed
    lost: bool = False  # its workers died; going on with the search may still finish it
    cut: bool = False  # it was under way when the time was up
    name: str = ""  # its number in the search


class Observer(Protocol):
    """Who is told, in the driver, how the search goes. A trial's name is its number in the search."""

    def started(self, name: str, config: Mapping[str, Any]) -> None:
        """A trial began, or began again."""

    def reported(self, name: str, standing: Standing) -> None:
        """A trial finished an epoch."""

    def ended(self, name: str, early: bool, error: str | None) -> None:
        """A trial came to its end, was stopped `early`, or failed."""


def search(
    start: Start,
    context: Mapping[str, Any],
    plan: Search,
    directory: Path,
    observer: Observer,
    stop: Event,
) -> list[Outcome]:
    """Run the trials of `plan`; go on where `directory` has its state.

    ASHA stops the hopeless ones, or in a population they take over the state of those that lead.

    The caller is connected to a cluster (see `distributed.cluster`), and may run several searches in threads.

    Args:
        start: importable function of (context, config) that yields an `Epoch` each; it runs in a worker.
        context: JSON that `start` needs in every worker: addresses and names, never tensors.
        directory: where Ray keeps the state of the search; its name is no other search's.
        stop: once set, the search ends as by a signal.

    Returns:
        The trials that finished an epoch, failed or were lost, by number; fewer than planned when the time
        was up.

    Raises:
        KeyboardInterrupt: stopped; the same call goes on.
    """
    name = trainable(f"Search{directory.name}", start, context)
    watched = _Observed(observer, directory, stop)
    state = directory.absolute() / name
    if has_trials(state):
        tuner = _restored(state, name, watched)
    else:
        shutil.rmtree(state, ignore_errors=True)
        tuner = _fresh(plan, directory, name, watched)
    results = sorted(tuner.fit(), key=lambda result: int(Path(result.path).name))  # of equals, the first
    outcomes = [_outcome(result) for result in results]
    return [outcome for outcome in outcomes if outcome.error or outcome.score is not None]


def _fresh(plan: Search, directory: Path, name: str, watched: "_Observed") -> Tuner:
    return Tuner(
        name,
        param_space={key: _domain(value) for key, value in plan.space.items()},
        tune_config=TuneConfig(
            num_samples=plan.trials,
            search_alg=PROPOSERS[plan.proposer](plan.seed),
            time_budget_s=plan.time_budget,
            reuse_actors=True,
            trial_dirname_creator=_name,
            **_scheduled(plan),
        ),
        run_config=RunConfig(
            name=name,  # no other search's, as Ray gathers all states that begin in one second by it
            storage_path=str(directory.absolute()),
            verbose=0,
            callbacks=[watched],
            failure_config=FailureConfig(max_failures=LOSSES),
            checkpoint_config=CheckpointConfig(
                num_to_keep=CHECKPOINTS, checkpoint_frequency=0, checkpoint_at_end=False
            ),
        ),
    )


def tidy(directory: Path) -> None:
    """Remove the half-trained patches of a search that nobody will go on with."""
    for checkpoint in directory.glob("*/*/checkpoint_*"):
        shutil.rmtree(checkpoint)


def _scheduled(plan: Search) -> dict[str, Any]:
    """Who of the trials goes on, and how; a population has its own metric, and all of it is begun."""
    if plan.proposer == PBT:
        return {"scheduler": population(plan.space, GRACE, plan.seed)}
    halving = ASHAScheduler(
        max_t=plan.epochs + GRACE,  # phases without epochs report too: a trial ends by itself
        grace_period=GRACE,
        reduction_factor=REDUCTION,
    )
    return {"scheduler": halving, "metric": SCORE, "mode": "min", "max_concurrent_trials": plan.at_once}


def has_trials(state: Path) -> bool:
    """Whether Ray has written down a trial; from less, or from a file cut off by a kill, it cannot go on."""
    newest = max(state.glob("experiment_state-*.json"), default=None)  # by time: that is in the name
    try:
        return newest is not None and bool(json.loads(newest.read_text())["trial_data"])
    except ValueError:
        return False


def _restored(state: Path, name: str, watched: "_Observed") -> Tuner:
    """Unfinished trials begin again: they take minutes, and a half-trained patch is no result.

    In a population they go on from their last checkpoints. Those that lost their workers keep their names,
    as only those are known to the proposer.
    """
    tuner = Tuner.restore(str(state), name, resume_unfinished=True, resume_errored=True)
    # no public way leads to the callbacks of a restored tuner, and ours cannot be pickled
    tuner._local_tuner.get_run_config().callbacks = [watched]
    return tuner


class _Observed(Callback):
    """Passes what Tune tells the driver on to an observer, who stays out of Tune's saved state."""

    def __init__(self, observer: Observer, directory: Path, stop: Event) -> None:
        self._observer, self._directory, self._stop = observer, directory, stop

    def __getstate__(self) -> dict[str, Any]:
        return {}

    def on_step_begin(self, iteration: int, trials: list[Trial], **info: Any) -> None:
        if self._stop.is_set():
            raise KeyboardInterrupt

    def on_trial_start(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        if trial.checkpoint is None:  # else it goes on
            self._observer.started(_name(trial), trial.config)

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **info: Any
    ) -> None:
        if CURVE in result:
            self._observer.reported(_name(trial), Standing(result[RECIPE], result[CURVE], result[SCORE]))
        if TRACE in result:
            (self._directory / f"trial-{_name(trial)}.txt").write_text(result[TRACE])

    def on_trial_complete(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        last = trial.last_result or {}
        self._observer.ended(_name(trial), CURVE in last, last.get(FAULT))

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        self._observer.ended(_name(trial), False, "its workers died")


def _outcome(result: Result) -> Outcome:
    metrics = result.metrics or {}
    lost, score = result.error is not None, metrics.get(SCORE, math.inf)
    error = "its workers died" if lost else metrics.get(FAULT)
    return Outcome(
        config=dict(metrics.get(RECIPE) or result.config or {}),
        score=score if math.isfinite(score) else None,
        error=error,
        lost=lost,
        cut=not lost and not metrics.get(tune.result.DONE),
        name=Path(result.path).name,
    )


def _domain(domain: Domain) -> Any:
    if isinstance(domain, Choice):
        return tune.choice(list(domain.values))
    if isinstance(domain, Whole):
        return tune.randint(domain.low, domain.high + 1)
    kind = tune.loguniform if isinstance(domain, LogUniform) else tune.uniform
    return kind(domain.low, domain.high)


def _name(trial: Trial) -> str:
    """Its number in the search, which a search that goes on gives again to a trial it did not yet know."""
    return str(trial.experiment_tag).partition("_")[0]
