"""How many for each user: orders next month, visits next week."""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from peter.diagram import Curve, Diagram
from peter.errors import InputError
from peter.task import Answers, Labels, LinearMap, Loss, Schema, Scores, Solvable
from peter.training.convex import array, chosen
from peter.training.metrics import mean

LARGEST = 20.0  # a logarithm of a rate; more would overflow
PENALTIES = (10.0, 3.0, 1.0, 0.3, 0.1, 0.03, 0.01, 0.003, 0.001, 0.0)  # the most cautious first
GROUPS = 10  # of a diagram


@dataclass(frozen=True)
class Count:
    """Poisson regression: one output, the logarithm of the rate (McCullagh and Nelder, 1989, chapter 6)."""

    name: ClassVar[str] = "count"
    primary: ClassVar[str] = "deviance"
    maximise: ClassVar[bool] = False
    several: ClassVar[bool] = False

    def fits(self, column: str, labels: Labels) -> bool:
        """Never plainly: counts look like classes or quantities, so this kind is asked for by name."""
        return False

    def schema(self, labels: Labels) -> Schema:
        counts = [_count(value) for (value,) in labels]
        if len(set(counts)) < 2:
            raise InputError(
                "All counts are the same, so there is nothing to tell apart; give different ones."
            )
        return {"most": max(counts)}

    def encode(self, labels: Labels, schema: Schema) -> Tensor:
        return torch.tensor([_count(value) for (value,) in labels], dtype=torch.float32)  # [B]

    def width(self, schema: Schema) -> int:
        return 1

    def rank(self, schema: Schema) -> int | None:
        return None

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        logs = outputs[:, 0].clamp(max=LARGEST)
        return (logs.exp() - targets * logs).mean()

    def learner(self, targets: Tensor, schema: Schema, seed: int) -> Loss:
        return self.loss

    def prior(self, targets: Tensor, schema: Schema) -> Tensor:
        """The logarithm of the mean; one half is added so that a count is never impossible."""
        return ((targets.sum() + 0.5) / len(targets)).log()[None]

    def fit_linear(self, fits: Sequence[tuple[Solvable, Solvable]], schema: Schema) -> list[LinearMap]:
        """Poisson regressions; the penalty with the least loss on users that they have not seen."""
        paths = [_path(features, targets, self.prior(targets, schema)) for (features, targets), _ in fits]
        return chosen(zip(*paths, strict=True), [held for _, held in fits], self.loss)

    def calibrate(self, outputs: Tensor, targets: Tensor) -> dict[str, float]:
        """A shift by which rates add up to what validation users had."""
        if not len(targets) or not targets.any():
            return {"shift": 0.0}
        return {"shift": float((targets.double().sum() / _rates(outputs).sum()).log())}

    def calibrated(self, outputs: Tensor, calibration: Mapping[str, float]) -> Tensor:
        return outputs.clamp(max=LARGEST) + calibration["shift"]

    def metrics(self, outputs: Tensor, targets: Tensor, weights: Tensor) -> Scores:
        """Mean Poisson deviance, and mean absolute error."""
        rates, counts = _rates(outputs), targets.double()
        deviance = 2 * (torch.xlogy(counts, counts / rates) - counts + rates)  # [B]
        return {"deviance": mean(deviance, weights), "mae": mean((rates - counts).abs(), weights)}

    def diagrams(self, outputs: Tensor, targets: Tensor, schema: Schema) -> Sequence[Diagram]:
        rates = _rates(outputs)
        groups = rates.argsort(stable=True).tensor_split(min(GROUPS, len(rates)))
        return [
            Curve(
                "calibration", "What users predicted alike had",
                [float(rates[users].mean()) for users in groups],
                [float(targets[users].mean()) for users in groups],
                [len(users) for users in groups], "expected", "counted",
            )
        ]  # fmt: skip

    def profile(
        self, outputs: Tensor, schema: Schema, calibration: Mapping[str, float], known: Labels
    ) -> Answers:
        rates = _rates(outputs)
        return Answers(rates.tolist(), [None] * len(rates), {"any": (-(-rates).expm1()).tolist()})

    def observed(self, labels: tuple[str, ...], schema: Schema) -> Any:
        return float(_count(labels[0]))


def _rates(outputs: Tensor) -> Tensor:
    return outputs[:, 0].double().clamp(-LARGEST, LARGEST).exp()  # [B]


def _count(value: str) -> int:
    if value.isascii() and value.isdigit() and len(value) < 10:
        return int(value)
    raise InputError(f"The label {value!r} is not a count; write whole numbers from 0, like 12.")


def _path(features: Any, counts: Tensor, prior: Tensor) -> Iterator[LinearMap]:
    """A map for each penalty; where nobody has any there is nothing to fit."""
    from sklearn.linear_model import PoissonRegressor  # a second to import: only those who fit pay it

    features, numbers = array(features), counts.double().numpy()
    for penalty in PENALTIES:
        if not numbers.any():
            yield LinearMap(torch.zeros(1, features.shape[1]), prior)
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # users that are held out judge an unfinished fit too
            model = PoissonRegressor(alpha=penalty, max_iter=1000, tol=1e-6).fit(features, numbers)
        yield LinearMap(torch.from_numpy(model.coef_)[None].float(), torch.tensor([model.intercept_]).float())


plugin = Count()
