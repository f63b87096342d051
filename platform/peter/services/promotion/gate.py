"""The promotion gate: a new version becomes champion only when validation users say it is better."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from peter.interval import Interval
from peter.methods import Examples, Setting
from peter.task import TaskKind
from peter.training.bootstrap import difference, resample, scored, told

WIDEST = 0.05  # half-width of an interval around zero from which no decision is drawn; also the margin below

DIGITS = 4  # of a gain


@dataclass(frozen=True)
class Verdict:
    """Whether to promote, and why, in sentences for people."""

    promote: bool
    reason: str
    metric: str
    gains: Mapping[str, Interval]  # over whom -> how much better the primary metric is
    below: tuple[str, ...] = ()  # baselines that did better, of a task's first version

    def overtaken(self, champion: str) -> "Verdict":
        """The same comparison, void because another version became champion meanwhile."""
        reason = f"{champion} became champion meanwhile; compare and promote by hand"
        return replace(self, promote=False, reason=reason)

    def noting(self, remark: str) -> "Verdict":
        """The same with a remark at the end of its reason."""
        return replace(self, reason=f"{self.reason}; {remark}")

    def to_json(self) -> dict[str, Any]:
        """As the registry keeps it."""
        return asdict(self)


def judge(
    setting: Setting,
    users: Examples,
    challenger: Tensor,
    rivals: Mapping[str, Tensor],
    champion: str | None,
    floors: Mapping[str, str],
    moved: bool = False,
) -> Verdict:
    """Compare uncalibrated outputs [B, K] of the challenger with those of its rivals on validation users.

    Calibrations are cross-fitted, so that nobody is judged on the users that calibrated him.

    Args:
        rivals: name -> outputs [B, K], the champion's among them.
        champion: the rival to be better than; None for a task's first version.
        floors: the rivals not to be worse than, with what to call them.
        moved: to another backbone, or away from a user who was forgotten, for which it is enough not to be
            worse than the champion.
    """
    gains = _gains(setting, users, challenger, rivals)
    metric, count = setting.kind.primary, len(users.targets)
    if champion is None:
        below = tuple(name for name, gain in gains.items() if gain["value"] < 0)
        listed = " and ".join(_below(metric, name, gains[name]) for name in below)
        flag = f", though {listed} on {count} validation users" if below else ""
        return Verdict(True, f"the first version{flag}", metric, gains, below)
    floors = {**({champion: champion} if moved else {}), **floors}
    named = {floors[name]: gain for name, gain in gains.items() if name in floors}
    above = None if moved else gains[champion]
    objection = next(_objections(metric, champion, above, named, count), None)
    better = "" if moved else f"better than {champion} and "
    praise = f"{better}not worse than {' and '.join(named)} on {count} validation users"
    return Verdict(objection is None, objection or praise, metric, gains)


def _gains(
    setting: Setting, users: Examples, challenger: Tensor, rivals: Mapping[str, Tensor]
) -> dict[str, Interval]:
    kind, weights = setting.kind, resample(len(users.targets), seed=setting.seed)

    def score(outputs: Tensor) -> Mapping[str, Tensor]:
        calibrated = _crossfitted(kind, outputs, users.targets)
        return scored(partial(kind.metrics, calibrated, users.targets), weights)

    ours = score(challenger)
    pairs = {name: (ours, score(outputs)) for name, outputs in rivals.items()}
    return {
        name: _rounded(told(difference(*(pair if kind.maximise else pair[::-1])))[kind.primary])
        for name, pair in pairs.items()
    }


def _rounded(gain: Interval) -> Interval:
    """As it is told: two that differ in the last bits of a sum are the same, and -0.0 is 0."""
    value, low, high = (round(gain[end], DIGITS) + 0.0 for end in ("value", "low", "high"))
    return Interval(value=value, low=low, high=high)


def _objections(
    metric: str, champion: str, over: Interval | None, floors: Mapping[str, Interval], users: int
) -> Iterator[str]:
    """Why not to promote, the gravest reason first.

    Better: the estimate is positive, and its interval leaves out zero or is narrow. Not worse: the interval
    is not all below zero, and its lower end is above minus a margin (ANT's gate against negative transfer).
    """
    if over and over["value"] <= 0:
        yield f"not better than {champion}: {_told(metric, over)}"
    for name, gain in floors.items():
        if gain["high"] < 0:
            yield f"worse than {name}: {_told(metric, gain)}"
    if over and over["low"] <= 0 and over["high"] - over["low"] > 2 * WIDEST:
        yield f"{users} validation users are too few to tell it from {champion}: {_told(metric, over)}"
    for name, gain in floors.items():
        if gain["low"] <= -WIDEST:
            yield (
                f"{users} validation users are too few to tell that it is not worse than {name}: "
                f"{_told(metric, gain)}"
            )


def _below(metric: str, name: str, gain: Interval) -> str:
    doubt = "perhaps by chance " if gain["high"] >= 0 else ""
    return f"{doubt}below {name} ({_told(metric, gain)})"


def _told(metric: str, gain: Interval) -> str:
    return (
        f"{metric} gain {gain['value']:+.{DIGITS}f} [{gain['low']:+.{DIGITS}f}, {gain['high']:+.{DIGITS}f}]"
    )


def _crossfitted(kind: TaskKind, outputs: Tensor, targets: Tensor) -> Tensor:
    """Each half of the users calibrated on the other half."""
    half = torch.arange(len(targets)) % 2 == 0
    parts = [
        kind.calibrated(outputs[mine], kind.calibrate(outputs[~mine], targets[~mine]))
        for mine in (half, ~half)
    ]
    users = torch.cat([mine.nonzero()[:, 0] for mine in (half, ~half)])
    return torch.cat(parts)[users.argsort()]
