"""What a task kind must offer; the kinds themselves live in `tasks/` and in other people's packages."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, cast

from torch import Tensor

from peter import plugins

GROUP = "peter.tasks"

Schema = Mapping[str, Any]  # JSON: what the outputs mean (classes, units), fixed by the training labels
Scores = dict[str, Tensor]  # metric name -> [R], one value for each row of weights


class TaskKind(Protocol):
    """One kind of question about users: its head's width, loss, metrics and profile output.

    Letters: B users, K outputs, R resamples. `outputs` are logits as the head gives them.
    """

    name: str
    primary: str  # the metric of selection, tuning and the promotion gate; lower is better

    def fits(self, values: Sequence[str], repeated: bool) -> bool:
        """Whether a label column, one text a row, is plainly of this kind; `repeated`: users occur twice."""

    def schema(self, values: Sequence[str]) -> Schema:
        """What the outputs mean. Raises InputError when nothing can be learnt (one class only)."""

    def encode(self, values: Sequence[str], schema: Schema) -> Tensor:
        """Labels as targets [B]. Raises InputError for a value that the schema does not hold."""

    def width(self, schema: Schema) -> int:
        """K, outputs a user."""

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Scalar mean over users of [B, K] against [B]."""

    def prior(self, targets: Tensor, schema: Schema) -> Tensor:
        """The outputs [K] of knowing nothing but the training labels: the majority baseline."""

    def fit_linear(
        self, train: tuple[Any, Tensor], valid: tuple[Any, Tensor], schema: Schema
    ) -> tuple[Tensor, Tensor]:
        """Convex fit over (features, targets): weight [K, F] and bias [K], strength chosen on `valid`.

        Features are a dense float tensor [B, F] or a scipy CSR matrix of that shape.
        """

    def calibrate(self, outputs: Tensor, targets: Tensor) -> dict[str, float]:
        """What turns outputs into honest probabilities, fitted on validation users."""

    def calibrated(self, outputs: Tensor, calibration: Mapping[str, float]) -> Tensor:
        """Outputs [B, K] with the calibration applied; still logits."""

    def metrics(self, outputs: Tensor, targets: Tensor, weights: Tensor) -> Scores:
        """Every metric under each row of user weights [R, B] (ones: the plain value)."""

    def profile(self, outputs: Tensor, schema: Schema) -> tuple[list[Any], list[float]]:
        """Calibrated outputs [B, K] as profile values and their probabilities."""

    def observed(self, value: str, schema: Schema) -> Any:
        """A label file's own value in the type that `profile` uses."""


def kind(name: str) -> TaskKind:
    """The installed task kind of that name. Raises UnknownName."""
    return cast(TaskKind, plugins.load(GROUP, name, "task kind"))
