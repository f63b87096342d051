"""How good a patch is, beside what anybody would try first, on users that nobody was trained on."""

from collections.abc import Mapping
from functools import partial
from typing import Any

from torch import Tensor

from peter.methods import Examples, Setting
from peter.training.bootstrap import intervals, paired, resample

BASELINES = ("bag", "probe")  # fitted on the same users; `majority` needs no fit


def evaluate(setting: Setting, users: Examples, answers: Mapping[str, Tensor], ours: str) -> dict[str, Any]:
    """Metrics of every contender and their paired differences from `ours`, on the same users and resamples.

    Args:
        answers: contender -> calibrated outputs [B, K] for `users`, `ours` among them.

    Returns:
        `metrics`: contender -> metric -> {value, low, high}; `differences`: contender -> metric -> the
        interval of ours minus theirs.
    """
    weights = resample(len(users.targets), seed=setting.seed)
    scores = {
        name: partial(setting.kind.metrics, outputs, users.targets) for name, outputs in answers.items()
    }
    return {
        "metrics": {name: intervals(score, weights) for name, score in scores.items()},
        "differences": {
            name: paired(scores[ours], score, weights) for name, score in scores.items() if name != ours
        },
    }
