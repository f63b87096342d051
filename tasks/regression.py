"""One number for each user: age in years, spend, days until the next visit."""

import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor

from peter.diagram import Curve, Diagram
from peter.errors import InputError
from peter.task import Answers, Labels, LinearMap, Loss, Schema, Scores, Solvable
from peter.training import numeric_metrics
from peter.training.calibration import conformal
from peter.training.convex import array, chosen

LARGEST, SMALLEST = 1e30, 1e-12  # a number; a scale, relative to the mean: beyond, float32 tells nothing
FEWEST_VALUES = 50  # not more distinct numbers than this may be classes
PENALTIES = tuple(10 ** (half / 2) for half in range(8, -5, -1))  # the most cautious first
GROUPS = 10  # of a diagram
METRICS = {
    "mae": numeric_metrics.mae,
    "rmse": numeric_metrics.rmse,
    "relative_mae": numeric_metrics.relative_mae,
    "r2": numeric_metrics.r2,
    "spearman": numeric_metrics.spearman,
}


@dataclass(frozen=True)
class Regression:
    """One linear output under Huber's loss (Huber, 1964); see `peter.task.TaskKind` for the letters.

    Outputs are standardised by the labels' mean and scale. A target [B, 2] is the standardised label and the
    scale, so that metrics are in the label's own unit. The primary metric is free of it: the gate's and the
    search's thresholds mean the same for years and for cents, and one huge error does not decide.
    """

    name: ClassVar[str] = "regression"
    primary: ClassVar[str] = "relative_mae"
    maximise: ClassVar[bool] = False
    several: ClassVar[bool] = False

    delta: float = 1.0  # scales from which an error counts linearly
    confidence: float = 0.9  # share of new users whose number the interval shall hold

    def __post_init__(self) -> None:
        if not 0 < self.delta < math.inf:
            raise InputError(f"delta={self.delta} cannot be used; give a number above 0.")
        if not 0 < self.confidence < 1:
            raise InputError(
                f"confidence={self.confidence} cannot be used; give a number between 0 and 1, like 0.9."
            )

    def fits(self, column: str, labels: Labels) -> bool:
        values = {value for values in labels for value in values}
        if column.endswith("_id") or any(len(values) > 1 for values in labels):
            return False
        return len(values) > FEWEST_VALUES and all(map(_is_quantity, values))

    def schema(self, labels: Labels) -> Schema:
        numbers = _numbers(labels)
        mean = math.fsum(numbers) / max(1, len(numbers))  # fsum: the same for rows in any order
        scale = math.sqrt(math.fsum((number - mean) ** 2 for number in numbers) / max(1, len(numbers)))
        if scale <= SMALLEST * max(1.0, abs(mean)):
            held = f"only the number {mean:g}" if numbers else "no number"
            raise InputError(
                f"The labels hold {held}, so there is nothing to tell apart; give users of different numbers."
            )
        return {"mean": mean, "scale": scale}

    def encode(self, labels: Labels, schema: Schema) -> Tensor:
        standard = (torch.tensor(_numbers(labels), dtype=torch.float64) - schema["mean"]) / schema["scale"]
        return torch.stack([standard, torch.full_like(standard, schema["scale"])], 1).float()  # [B, 2]

    def width(self, schema: Schema) -> int:
        return 1

    def rank(self, schema: Schema) -> int | None:
        return None

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        error = (outputs[:, 0] - targets[:, 0]).abs()  # [B]
        return torch.where(error < self.delta, error**2 / 2, self.delta * (error - self.delta / 2)).mean()

    def learner(self, targets: Tensor, schema: Schema, seed: int) -> Loss:
        return self.loss

    def prior(self, targets: Tensor, schema: Schema) -> Tensor:
        """The median, the constant of least absolute error."""
        return targets[:, 0].median()[None]

    def fit_linear(self, fits: Sequence[tuple[Solvable, Solvable]], schema: Schema) -> list[LinearMap]:
        """Ridge regressions; the penalty with the least mean absolute error."""
        paths = [_path(features, targets[:, 0]) for (features, targets), _ in fits]
        return chosen(zip(*paths, strict=True), [held for _, held in fits], _absolute_error)

    def calibrate(self, outputs: Tensor, targets: Tensor) -> dict[str, float]:
        return {"half_width": conformal(outputs[:, 0] - targets[:, 0], self.confidence)}

    def calibrated(self, outputs: Tensor, calibration: Mapping[str, float]) -> Tensor:
        """The value and the half-width of its interval, [B, 2]."""
        return torch.cat([outputs, torch.full_like(outputs, calibration["half_width"])], 1)

    def metrics(self, outputs: Tensor, targets: Tensor, weights: Tensor) -> Scores:
        """All in the label's unit, or free of it; `coverage`: the share of users inside their interval."""
        values, truth = (column.double() * targets[:, 1] for column in (outputs[:, 0], targets[:, 0]))
        scores = {name: metric(values, truth, weights) for name, metric in METRICS.items()}
        if outputs.shape[1] == 1:
            return scores
        halves = outputs[:, 1].double() * targets[:, 1]
        return {**scores, "coverage": numeric_metrics.coverage(values, truth, halves, weights)}

    def diagrams(self, outputs: Tensor, targets: Tensor, schema: Schema) -> Sequence[Diagram]:
        natural = partial(_natural, schema=schema)
        groups = outputs[:, 0].argsort(stable=True).tensor_split(min(GROUPS, len(outputs)))
        return [
            Curve(
                "calibration", "What users predicted alike have in truth",
                [natural(outputs[users, 0].double().mean()) for users in groups],
                [natural(targets[users, 0].double().mean()) for users in groups],
                [len(users) for users in groups], "mean prediction", "mean truth",
            )
        ]  # fmt: skip

    def profile(
        self, outputs: Tensor, schema: Schema, calibration: Mapping[str, float], known: Labels
    ) -> Answers:
        values, half = outputs.double().T  # [B] each
        columns = [
            [_natural(value, schema) for value in ends] for ends in (values, values - half, values + half)
        ]
        return Answers(columns[0], [None] * len(outputs), {"low": columns[1], "high": columns[2]})

    def observed(self, labels: tuple[str, ...], schema: Schema) -> Any:
        return float(labels[0])


def _numbers(labels: Labels) -> list[float]:
    return [_number(value) for (value,) in labels]


def _number(value: str) -> float:
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if abs(number) <= LARGEST:  # false for NaN
        return number
    raise InputError(
        f"The label {value!r} is not a number that can be learnt; write numbers like 3.5, "
        "or give another --kind."
    )


def _is_quantity(value: str) -> bool:
    """A number, and no code like 007."""
    digits = value.lstrip("+-")
    try:
        return math.isfinite(float(value)) and not (digits[:1] == "0" and digits[1:2].isdigit())
    except ValueError:
        return False


def _natural(standard: Tensor, schema: Schema) -> float:
    return float(standard) * float(schema["scale"]) + float(schema["mean"])


def _absolute_error(outputs: Tensor, targets: Tensor) -> Tensor:
    return (outputs[:, 0] - targets[:, 0]).abs().mean()


def _path(features: Any, targets: Tensor) -> Iterator[LinearMap]:
    """Ridge maps for each penalty, their level moved so that as many training users lie above as below."""
    from sklearn.linear_model import Ridge  # a second to import: only those who fit pay it

    features, numbers = array(features), targets.double().numpy()
    for penalty in PENALTIES:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # users that are held out judge an ill-conditioned fit too
            model = Ridge(penalty).fit(features, numbers)
        weight = torch.from_numpy(model.coef_)[None]  # [1, F]
        level = torch.from_numpy(numbers - features @ model.coef_).median()[None]
        yield LinearMap(weight.float(), level.float())


plugin = Regression()
