"""What a task kind must offer; the kinds themselves live in `tasks/` and in other people's packages."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol, cast

import torch
from torch import Tensor

from peter import plugins
from peter.diagram import Diagram

GROUP = "peter.tasks"

Schema = Mapping[str, Any]  # JSON: what the outputs mean (classes, units), fixed by the training labels
Scores = dict[str, Tensor]  # metric name -> [R], one value for each row of weights
Labels = Sequence[tuple[str, ...]]  # a user's answers in the file's own words; one unless `several`
Solvable = tuple[Any, Tensor]  # features [B, F], a dense float tensor or a scipy CSR matrix, and targets
Loss = Callable[[Tensor, Tensor], Tensor]  # outputs [B, K], targets [B, ...] -> scalar mean over users


@dataclass(frozen=True)
class LinearMap:
    """up @ down @ x + bias for features x [F]; without `down`, up @ x + bias."""

    up: Tensor  # [K, F], or [K, R] behind `down`
    bias: Tensor  # [K]
    down: Tensor | None = None  # [R, F]

    def of(self, features: Any) -> Tensor:
        """Outputs [B, K] of features [B, F], a dense tensor or a scipy CSR matrix."""
        first = self.up if self.down is None else self.down
        if isinstance(features, Tensor):
            inner = features @ first.T
        else:
            inner = torch.from_numpy(features @ first.numpy().T).float()
        return (inner if self.down is None else inner @ self.up.T) + self.bias


@dataclass(frozen=True)
class Answers:
    """What a profile says of B users."""

    values: list[Any]
    probabilities: list[float | None]  # None where the kind has none
    details: dict[str, list[Any]] = field(default_factory=dict)  # numbers, texts or lists of numbers, by name


class TaskKind(Protocol):
    """One kind of question about users: its head's width, loss, metrics and profile output.

    A kind is a frozen dataclass: its fields are what `--set` may change, and the plugin holds the defaults.
    Letters: B users, K outputs, R resamples. `outputs` are logits as the head gives them.
    """

    name: ClassVar[str]
    primary: ClassVar[str]  # the metric of selection, tuning and the promotion gate
    maximise: ClassVar[bool]  # whether more of it is better
    several: ClassVar[bool]  # whether a user may have several answers

    def fits(self, column: str, labels: Labels) -> bool:
        """Whether a label file's column is plainly of this kind."""

    def schema(self, labels: Labels) -> Schema:
        """What the outputs mean. Raises InputError when nothing can be learnt (one class only)."""

    def encode(self, labels: Labels, schema: Schema) -> Tensor:
        """Labels as targets [B, ...]. Raises InputError for an answer that the schema does not hold."""

    def width(self, schema: Schema) -> int:
        """K, outputs a user."""

    def rank(self, schema: Schema) -> int | None:
        """R where maps from features to the outputs are to have low rank (many outputs), else None."""

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Scalar mean over users of [B, K] against [B, ...]."""

    def learner(self, targets: Tensor, schema: Schema, seed: int) -> Loss:
        """The loss to descend for an epoch, for these training targets; it draws by `seed` alone."""

    def prior(self, targets: Tensor, schema: Schema) -> Tensor:
        """The outputs [K] of knowing nothing but the training labels: the majority baseline."""

    def fit_linear(self, fits: Sequence[tuple[Solvable, Solvable]], schema: Schema) -> list[LinearMap]:
        """Convex fits of one strength, a map of rank `rank(schema)` for each.

        Args:
            fits: users that a map is fitted on, and users held out; the strength is the best for all of
                these (`peter.training.convex.chosen`).
        """

    def calibrate(self, outputs: Tensor, targets: Tensor) -> dict[str, float]:
        """What turns outputs into honest probabilities or intervals, fitted on validation users."""

    def calibrated(self, outputs: Tensor, calibration: Mapping[str, float]) -> Tensor:
        """Outputs [B, K] with the calibration applied, still logits.

        Further columns may follow (an interval's half-width, a threshold): whatever `metrics`, `diagrams` and
        `profile` must know of the calibration. `metrics` takes outputs without them too.
        """

    def metrics(self, outputs: Tensor, targets: Tensor, weights: Tensor) -> Scores:
        """Every metric under each row of user weights [R, B] (ones: the plain value); all are finite."""

    def diagrams(self, outputs: Tensor, targets: Tensor, schema: Schema) -> Sequence[Diagram]:
        """Pictures that say more than the metrics do, of calibrated outputs."""

    def profile(
        self, outputs: Tensor, schema: Schema, calibration: Mapping[str, float], known: Labels
    ) -> Answers:
        """Calibrated outputs as profile values; `known`: each user's own labels, or nothing."""

    def observed(self, labels: tuple[str, ...], schema: Schema) -> Any:
        """A label file's own answer as `profile` would give it; None where that is no answer."""


def kind(name: str) -> TaskKind:
    """The installed task kind of that name. Raises UnknownName."""
    return cast(TaskKind, plugins.load(GROUP, name, "task kind"))


def cost(kind: TaskKind, scores: Scores) -> Tensor:
    """The primary metric [R], turned so that less is better."""
    return -scores[kind.primary] if kind.maximise else scores[kind.primary]
