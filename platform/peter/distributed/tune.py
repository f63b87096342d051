"""Ray Tune, kept quiet: search a space of settings with trials that any process of a cluster can run."""

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import ray
from ray import tune
from ray.tune import Callback, CheckpointConfig, ResultGrid, RunConfig, TuneConfig, Tuner
from ray.tune.experiment import Trial
from ray.tune.schedulers import ASHAScheduler
from ray.tune.search.optuna import OptunaSearch

from peter.distributed.cluster import cluster
from peter.space import Choice, Domain, LogUniform

SCORE = "score"  # what a trial reports after each epoch; lower is better
GRACE = 5  # epochs before a trial may be stopped: patches show a plateau and then a second rise
REDUCTION = 3  # of the trials that reach a rung, one in so many goes on

Start = Callable[[Mapping[str, Any], Mapping[str, Any]], Iterator[float]]


@dataclass(frozen=True)
class Search:
    """What to search, and how long."""

    space: Mapping[str, Domain]
    trials: int
    epochs: int  # of a trial at most
    seed: int
    time_budget: float | None  # seconds after which no trial goes on


@dataclass(frozen=True)
class Outcome:
    """One trial that reported at least once, or failed."""

    config: dict[str, Any]
    score: float | None  # the best epoch's
    error: str | None


class Observer(Protocol):
    """Who is told, in the driver, how the search goes."""

    def started(self, name: str, config: Mapping[str, Any]) -> None:
        """A trial began."""

    def reported(self, name: str, score: float) -> None:
        """A trial finished an epoch."""

    def ended(self, name: str, error: str | None) -> None:
        """A trial finished, was stopped early, or failed."""


def search(
    start: Start,
    context: Mapping[str, Any],
    plan: Search,
    directory: Path,
    address: str | None,
    observer: Observer,
) -> list[Outcome]:
    """Run the trials of `plan`, ASHA stopping the hopeless ones, Optuna's TPE proposing the next.

    Args:
        start: importable function of (context, config) that yields a score an epoch; it runs in a worker.
        context: JSON that `start` needs in every worker: addresses and names, never tensors.
        directory: where Ray keeps the state of the search.
        address: of a cluster; None: this machine.

    Returns:
        The trials that began; fewer than planned when the time was up.

    Raises:
        KeyboardInterrupt: stopped by a signal.
    """
    with cluster(address):
        tuner = Tuner(
            tune.with_parameters(_Trainable, start=start, context=dict(context)),
            param_space={key: _domain(value) for key, value in plan.space.items()},
            tune_config=TuneConfig(
                metric=SCORE,
                mode="min",
                num_samples=plan.trials,
                search_alg=OptunaSearch(seed=plan.seed),
                scheduler=ASHAScheduler(
                    max_t=plan.epochs + GRACE,  # phases without epochs report too: a trial ends by itself
                    grace_period=GRACE,
                    reduction_factor=REDUCTION,
                ),
                max_concurrent_trials=max(1, int(_cpus())),
                time_budget_s=plan.time_budget,
                reuse_actors=True,
                trial_dirname_creator=_directory,
            ),
            run_config=RunConfig(
                name="search",
                storage_path=str(directory.absolute()),
                verbose=0,
                callbacks=[_Observed(observer)],
                checkpoint_config=CheckpointConfig(checkpoint_frequency=0, checkpoint_at_end=False),
            ),
        )
        return _outcomes(tuner.fit())


class _Trainable(tune.Trainable):
    """An epoch a step; the actor is used again for the next trial, so that torch is imported once."""

    def setup(self, config: dict[str, Any], start: Start, context: dict[str, Any]) -> None:
        self._start, self._context = start, context
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self._scores, self._best = self._start(self._context, new_config), float("inf")
        return True

    def step(self) -> dict[str, Any]:
        score = next(self._scores, None)
        if score is None:
            return {SCORE: self._best, tune.result.DONE: True}
        self._best = min(self._best, score)
        return {SCORE: self._best}

    def cleanup(self) -> None:
        self._scores = iter(())


class _Observed(Callback):
    """Passes what Tune tells the driver on to an observer, who stays out of Tune's saved state."""

    def __init__(self, observer: Observer) -> None:
        self._observer = observer

    def __getstate__(self) -> dict[str, Any]:
        return {}

    def on_trial_start(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        self._observer.started(trial.trial_id, trial.config)

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **info: Any
    ) -> None:
        self._observer.reported(trial.trial_id, result[SCORE])

    def on_trial_complete(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        self._observer.ended(trial.trial_id, None)

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        self._observer.ended(trial.trial_id, "the trial failed; its log is in the run's directory")


def _outcomes(grid: ResultGrid) -> list[Outcome]:
    return [
        Outcome(
            config=dict(result.config or {}),
            score=(result.metrics or {}).get(SCORE),
            error=(str(result.error).splitlines() or [repr(result.error)])[-1] if result.error else None,
        )
        for result in grid
    ]


def _domain(domain: Domain) -> Any:
    if isinstance(domain, Choice):
        return tune.choice(list(domain.values))
    assert isinstance(domain, LogUniform)
    return tune.loguniform(domain.low, domain.high)


def _directory(trial: Trial) -> str:
    return str(trial.trial_id)


def _cpus() -> float:
    return float(ray.cluster_resources().get("CPU", os.cpu_count() or 1))
