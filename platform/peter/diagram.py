"""Diagrams: what to draw, apart from who draws it (a file, a terminal)."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Matrix:
    """Counts of users by two names, e.g. a confusion matrix: a row is the truth, a column what was said."""

    name: str  # also of the file
    title: str
    rows: Sequence[str]
    columns: Sequence[str]
    values: Sequence[Sequence[float]]  # [rows][columns]
    row_label: str = "truth"
    column_label: str = "answer"


@dataclass(frozen=True)
class Curve:
    """Points that should lie on the diagonal, each with how many users stand behind it."""

    name: str
    title: str
    x: Sequence[float]
    y: Sequence[float]
    users: Sequence[int]
    x_label: str
    y_label: str

    @property
    def ends(self) -> tuple[float, float]:
        """Of both axes: 0 and 1 for shares, else a little more than the points need."""
        low, high = min(*self.x, *self.y), max(*self.x, *self.y)
        if low >= 0 and high <= 1:
            return 0.0, 1.0
        margin = (high - low or abs(high)) / 20
        return low - margin, high + margin


Diagram = Matrix | Curve
_CLASSES: Mapping[str, type[Matrix] | type[Curve]] = {"matrix": Matrix, "curve": Curve}


def to_json(diagram: Diagram) -> dict[str, Any]:
    """As a version's report keeps it."""
    return {"diagram": type(diagram).__name__.lower(), **asdict(diagram)}


def from_json(kept: Mapping[str, Any]) -> Diagram:
    """The inverse of `to_json`."""
    values = dict(kept)
    return _CLASSES[values.pop("diagram")](**values)
