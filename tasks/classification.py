"""One class out of a few for each user: gender, age group, life status."""

import math
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import repeat
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor
from torch.nn import functional

from peter.diagram import Curve, Diagram, Matrix
from peter.errors import InputError
from peter.task import Answers, Labels, LinearMap, Loss, Schema, Scores, Solvable
from peter.training import metrics
from peter.training.calibration import temperature
from peter.training.convex import array, chosen

MOST_CLASSES = 50  # more distinct numbers than this are a quantity, not classes
RARE = 5  # classes with fewer users are named in the schema
UNKNOWN = "unknown"
STRENGTHS = tuple(10 ** (half / 2) for half in range(-8, 5))  # 1/penalty, the most cautious first
METRICS = {
    "accuracy": metrics.accuracy,
    "macro_f1": metrics.macro_f1,
    "roc_auc": metrics.roc_auc,
    "log_loss": metrics.log_loss,
    "ece": metrics.ece,
}


@dataclass(frozen=True)
class Classification:
    """Linear outputs, one a class, under cross-entropy; see `peter.task.TaskKind` for the letters."""

    name: ClassVar[str] = "classification"
    primary: ClassVar[str] = "log_loss"
    maximise: ClassVar[bool] = False
    several: ClassVar[bool] = False

    class_weights: Literal["none", "balanced"] = "none"  # balanced: every class weighs the same in the loss
    label_smoothing: float = 0.0
    abstain: float = 0.0  # below this probability the answer is `unknown`

    def __post_init__(self) -> None:
        for name in ("label_smoothing", "abstain"):
            if not 0 <= getattr(self, name) < 1:
                raise InputError(
                    f"{name}={getattr(self, name)} cannot be used; give a number from 0 to below 1."
                )

    def fits(self, column: str, labels: Labels) -> bool:
        users = Counter(value for values in labels for value in values)
        if any(len(values) > 1 for values in labels) or any(";" in value for value in users):
            return False
        numbers = all(_number(value) is not None for value in users)
        return not numbers or (len(users) <= MOST_CLASSES and min(users.values(), default=0) > 1)

    def schema(self, labels: Labels) -> Schema:
        users = Counter(value for (value,) in labels)
        if len(users) < 2:
            held = f"only the class {next(iter(users))!r}" if users else "no class"
            raise InputError(
                f"The labels hold {held}, so there is nothing to tell apart; give at least two classes."
            )
        classes = _ordered(users)
        return {
            "classes": classes,
            "rare": {name: users[name] for name in classes if users[name] < RARE},
        }

    def encode(self, labels: Labels, schema: Schema) -> Tensor:
        values = [value for (value,) in labels]
        rows = {name: row for row, name in enumerate(schema["classes"])}
        unknown = sorted(set(values) - rows.keys())
        if unknown:
            raise InputError(
                f"The label {unknown[0]!r} is none of this task's classes ({', '.join(rows)}); correct it, "
                "or add a new task for the new classes."
            )
        return torch.tensor([rows[value] for value in values], dtype=torch.long)  # [B]

    def width(self, schema: Schema) -> int:
        return len(schema["classes"])

    def rank(self, schema: Schema) -> int | None:
        return None

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return functional.cross_entropy(outputs, targets)

    def learner(self, targets: Tensor, schema: Schema, seed: int) -> Loss:
        weight = None
        if self.class_weights == "balanced":
            users = targets.bincount(minlength=self.width(schema))  # [K]
            weight = len(targets) / (users.clamp(min=1) * (users > 0).sum())
        return partial(functional.cross_entropy, weight=weight, label_smoothing=self.label_smoothing)

    def prior(self, targets: Tensor, schema: Schema) -> Tensor:
        """Logarithms of the class frequencies, one user added to each class so that none is impossible."""
        counts = targets.bincount(minlength=self.width(schema)) + 1.0  # [K]
        return (counts / counts.sum()).log()

    def fit_linear(self, fits: Sequence[tuple[Solvable, Solvable]], schema: Schema) -> list[LinearMap]:
        """Multinomial logistic regressions; the strength with the least log-loss."""
        paths = [_path(features, targets, self.prior(targets, schema)) for (features, targets), _ in fits]
        return chosen(zip(*paths, strict=True), [held for _, held in fits], self.loss)

    def calibrate(self, outputs: Tensor, targets: Tensor) -> dict[str, float]:
        return {"temperature": temperature(outputs, targets)}

    def calibrated(self, outputs: Tensor, calibration: Mapping[str, float]) -> Tensor:
        return outputs / calibration["temperature"]

    def metrics(self, outputs: Tensor, targets: Tensor, weights: Tensor) -> Scores:
        return {name: metric(outputs, targets, weights) for name, metric in METRICS.items()}

    def diagrams(self, outputs: Tensor, targets: Tensor, schema: Schema) -> Sequence[Diagram]:
        classes = len(schema["classes"])
        cells = (targets * classes + outputs.argmax(1)).bincount(minlength=classes**2)
        confusion = Matrix(
            "confusion", "Users by true class and answer", schema["classes"], schema["classes"],
            cells.view(classes, classes).tolist(),
        )  # fmt: skip
        confidence, right, users = metrics.reliability(outputs, targets)
        reliability = Curve(
            "reliability", "How often the answer is right", confidence.tolist(), right.tolist(),
            users.tolist(), "probability of the answer", "share that is right",
        )  # fmt: skip
        return [confusion, reliability]

    def profile(
        self, outputs: Tensor, schema: Schema, calibration: Mapping[str, float], known: Labels
    ) -> Answers:
        chances, rows = outputs.double().softmax(1).max(1)  # [B]
        values = [
            schema["classes"][row] if chance >= self.abstain else UNKNOWN
            for row, chance in zip(rows.tolist(), chances.tolist(), strict=True)
        ]
        return Answers(values, chances.tolist())

    def observed(self, labels: tuple[str, ...], schema: Schema) -> Any:
        return labels[0]


def _number(value: str) -> float | None:
    try:
        number = float(value)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _ordered(classes: Iterable[str]) -> list[str]:
    """By number if all are numbers, else as text: 2 before 10, and "10" before "2nd"."""
    numbers = {name: _number(name) for name in classes}
    if None in numbers.values():
        return sorted(numbers)
    return sorted(numbers, key=lambda name: (numbers[name], name))


def _path(features: Any, targets: Tensor, prior: Tensor) -> Iterator[LinearMap]:
    """A map for each strength, every fit started from the one before.

    A class without training users keeps no weight and a bias that gives it its prior chance.
    """
    from sklearn.exceptions import ConvergenceWarning  # a second to import: only those who fit pay it
    from sklearn.linear_model import LogisticRegression

    features, present = array(features), targets.unique()  # [k]
    if len(present) < 2:
        yield from repeat(LinearMap(torch.zeros(len(prior), features.shape[1]), prior), len(STRENGTHS))
        return
    model = LogisticRegression(warm_start=True, tol=1e-4, max_iter=1000)
    for strength in STRENGTHS:
        with warnings.catch_warnings():
            # users that are held out judge an unfinished fit too
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.set_params(C=strength).fit(features, targets.numpy())
        weights, levels = torch.from_numpy(model.coef_), torch.from_numpy(model.intercept_)
        if len(present) == 2:  # one logit z: the same as outputs -z/2 and z/2
            weights, levels = (torch.cat([-z / 2, z / 2]) for z in (weights, levels))
        level = (torch.from_numpy(features @ weights.numpy().T) + levels).logsumexp(1).mean()
        up, bias = torch.zeros(len(prior), features.shape[1]), prior + level.float()
        up[present], bias[present] = weights.float(), levels.float()
        yield LinearMap(up, bias)


plugin = Classification()
