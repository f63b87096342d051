"""The promotion gate: a new version becomes champion only when validation users say it is better."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from peter.methods import Examples, Setting
from peter.task import TaskKind
from peter.training.bootstrap import Interval, Score, paired, resample

WIDEST = 0.05  # half-width of an interval around zero from which no decision is drawn


@dataclass(frozen=True)
class Verdict:
    """Whether to promote, and why, in sentences for people."""

    promote: bool
    reason: str
    metric: str
    gains: Mapping[str, Interval]  # over whom -> how much better the primary metric is

    def overtaken(self, champion: str) -> "Verdict":
        """The same comparison, void because another version became champion meanwhile."""
        reason = f"{champion} became champion meanwhile; compare and promote by hand"
        return replace(self, promote=False, reason=reason)

    def to_json(self) -> dict[str, Any]:
        """As the registry keeps it."""
        return asdict(self)


def judge(setting: Setting, users: Examples, challenger: Tensor, rivals: Mapping[str, Tensor]) -> Verdict:
    """Compare uncalibrated outputs [B, K] of the challenger with those of its rivals on validation users.

    Calibrations are cross-fitted, so that nobody is judged on the users that calibrated him.
    """
    kind, weights = setting.kind, resample(len(users.targets), seed=setting.seed)
    scores = {
        name: partial(kind.metrics, _crossfitted(kind, outputs, users.targets), users.targets)
        for name, outputs in {"": challenger, **rivals}.items()
    }
    ours = scores.pop("")
    gains = {name: _gain(kind, ours, score, weights) for name, score in scores.items()}
    promote, reason = _decide(kind.primary, gains, len(users.targets))
    return Verdict(promote, reason, kind.primary, gains)


def _gain(kind: TaskKind, ours: Score, theirs: Score, weights: Tensor) -> Interval:
    pair = (ours, theirs) if kind.maximise else (theirs, ours)
    return paired(*pair, weights)[kind.primary]


def _decide(metric: str, gains: Mapping[str, Interval], users: int) -> tuple[bool, str]:
    """An interval that leaves out zero tells the two apart, however wide it is."""
    for name, gain in gains.items():
        told = f"{gain['value']:+.4f} [{gain['low']:+.4f}, {gain['high']:+.4f}]"
        if gain["value"] <= 0:
            return False, f"not better than {name}: {metric} gain {told}"
        if gain["low"] <= 0 and gain["high"] - gain["low"] > 2 * WIDEST:
            return False, f"{users} validation users are too few to tell it from {name}: {metric} gain {told}"
    return True, f"better than {' and '.join(gains)} on {users} validation users"


def _crossfitted(kind: TaskKind, outputs: Tensor, targets: Tensor) -> Tensor:
    """Each half of the users calibrated on the other half."""
    half = torch.arange(len(targets)) % 2 == 0
    parts = [
        kind.calibrated(outputs[mine], kind.calibrate(outputs[~mine], targets[~mine]))
        for mine in (half, ~half)
    ]
    users = torch.cat([mine.nonzero()[:, 0] for mine in (half, ~half)])
    return torch.cat(parts)[users.argsort()]
