"""Population based training: a trial that falls behind takes over the state of one that leads."""

from collections.abc import Mapping
from functools import partial
from random import Random
from typing import Any

from ray import tune
from ray.tune.schedulers import PopulationBasedTraining

from peter.distributed.trial import EPOCH
from peter.schedule import CHANGING
from peter.space import Choice, Domain, Space

PERIOD = 4  # epochs between two looks at a trial: fewer tell luck from merit less well
FACTORS = (0.8, 1.2)  # by which a number changes, as in the paper's own experiments


def population(space: Space, grace: int, seed: int) -> PopulationBasedTraining:
    """Jaderberg et al., 2017: the last quarter goes on from where the first quarter is, by changed settings.

    Trials are compared by their newest epoch: what each would end with is the same for all until some epoch
    beats the start. A trial takes over all of its donor's config, as the tensors have the donor's shapes.
    Which donor, of several, Ray draws by itself.
    """
    changing = {key: space[key] for key in CHANGING if key in space}
    return PopulationBasedTraining(
        time_attr=tune.result.TRAINING_ITERATION,
        metric=EPOCH,
        mode="min",
        burn_in_period=grace,
        perturbation_interval=PERIOD,
        custom_explore_fn=partial(explored, changing, Random(seed)),
        log_config=False,
    )


def explored(changing: Mapping[str, Domain], draw: Random, config: Mapping[str, Any]) -> dict[str, Any]:
    """A config with each setting that may change a step further, within its domain."""
    return {**config, **{key: _step(domain, config[key], draw) for key, domain in changing.items()}}


def _step(domain: Domain, value: Any, draw: Random) -> Any:
    if isinstance(domain, Choice):
        at = domain.values.index(value) + draw.choice((-1, 1))
        return domain.values[min(max(at, 0), len(domain.values) - 1)]
    return min(max(value * draw.choice(FACTORS), domain.low), domain.high)
