"""A version's diagrams as files, PNG and SVG: the same diagrams give the same bytes."""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from peter.diagram import Curve, Diagram, Matrix, from_json
from peter.errors import InputError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SUFFIXES = (".png", ".svg")
INK, MUTED, ACCENT = "#1f2933", "#7b8794", "#2b6cb0"
NUMBERED = 24  # rows of a matrix whose cells still hold a legible number
STYLE: Any = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],  # comes with matplotlib: the same everywhere
    "font.size": 10,
    "text.color": INK,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.8,
    "axes.titleweight": "bold",
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "axes.titlepad": 12,
    "xtick.color": INK,
    "ytick.color": INK,
    "svg.hashsalt": "peter",  # else every file would have ids of its own
}


def plot_shown(document: Mapping[str, Any], directory: Path) -> list[str]:
    """Draw the version that a task's document reports on, or else its champion. Raises InputError."""
    patch = document.get("report") or document["champion"]
    if patch is None:
        raise InputError(
            f"Task {document['name']!r} has no champion yet; go on with `peter task add {document['name']}`."
        )
    kept = patch["metrics"].get("diagrams", [])
    return list(map(str, write_plots(directory, f"{document['name']}@{patch['version']}", kept)))


def write_plots(directory: Path, reference: str, kept: Sequence[Mapping[str, Any]]) -> list[Path]:
    """Draw the diagrams that a version keeps, `gender@1-confusion.png` and so on; the paths written.

    Raises:
        InputError: matplotlib is not installed, there is nothing to draw, or nowhere to write to.
    """
    if not kept:
        raise InputError(
            f"{reference} keeps no diagrams; train a new version with `peter task train "
            f"{reference.partition('@')[0]}`, or leave --plots out."
        )
    with _drawing():
        try:
            directory.mkdir(parents=True, exist_ok=True)
            return [path for each in map(from_json, kept) for path in _written(directory, reference, each)]
        except OSError as error:
            raise InputError(f"{directory} cannot be written to ({error}); choose another folder.") from None


@contextmanager
def _drawing() -> Iterator[None]:
    """matplotlib in our style, silent about letters that its font lacks."""
    try:
        from matplotlib import rc_context
    except ModuleNotFoundError:
        raise InputError(
            "Plots need matplotlib, which is not installed; type `pip install 'peter-rec[plots]'`."
        ) from None
    with rc_context(STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        yield


def _written(directory: Path, reference: str, diagram: Diagram) -> Iterator[Path]:
    figure = _curve(diagram, reference) if isinstance(diagram, Curve) else _matrix(diagram, reference)
    for suffix in SUFFIXES:
        path = directory / f"{reference}-{diagram.name}{suffix}"
        figure.savefig(
            path, dpi=160, bbox_inches="tight", metadata={"Date": None} if suffix == ".svg" else {}
        )
        yield path


def _figure(width: float, height: float) -> "Figure":
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def _matrix(diagram: Matrix, reference: str) -> "Figure":
    """Rows are shaded by their shares, so that a rare class is as visible as a common one."""
    import numpy as np
    from matplotlib.ticker import PercentFormatter

    counts = np.asarray(diagram.values, dtype=float)  # [rows, columns]
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    side = 1.8 + max(0.42 * len(diagram.rows), 1.4)
    figure = _figure(side + 0.8, side)
    axes = figure.subplots()
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axes.set_xticks(range(len(diagram.columns)), diagram.columns, rotation=45, ha="right", parse_math=False)
    axes.set_yticks(range(len(diagram.rows)), diagram.rows, parse_math=False)
    axes.set_xticks(np.arange(len(diagram.columns) + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(len(diagram.rows) + 1) - 0.5, minor=True)
    axes.grid(which="minor", color="white", linewidth=1.5)
    axes.tick_params(which="both", length=0)
    axes.spines[:].set_visible(False)
    if len(diagram.rows) <= NUMBERED:
        _numbers(axes, counts, shares)
    _labelled(axes, f"{reference}: {diagram.title}", diagram.column_label, diagram.row_label)
    bar = figure.colorbar(image, ax=axes, aspect=30, pad=0.02)
    bar.outline.set_visible(False)
    bar.ax.yaxis.set_major_formatter(PercentFormatter(1))
    bar.set_label(f"share of each {diagram.row_label}", color=MUTED)
    return figure


def _numbers(axes: "Axes", counts: Any, shares: Any) -> None:
    for row, line in enumerate(counts):
        for column, count in enumerate(line):
            colour = "white" if shares[row, column] > 0.5 else INK if count else MUTED
            axes.text(column, row, f"{count:,.0f}", ha="center", va="center", color=colour)


def _curve(diagram: Curve, reference: str) -> "Figure":
    """Points beside the diagonal, as large as users are many behind them, and those users as bars below."""
    figure = _figure(4.8, 5.9)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(4, 1))  # the upper one is all but square
    ends = diagram.ends
    upper.plot(ends, ends, color=MUTED, linewidth=1, linestyle=(0, (4, 3)), zorder=1)
    upper.vlines(diagram.x, diagram.x, diagram.y, color=ACCENT, alpha=0.35, linewidth=2, zorder=2)
    most = max(diagram.users)
    sizes = [24 + 160 * users / most for users in diagram.users]
    upper.scatter(diagram.x, diagram.y, s=sizes, color=ACCENT, edgecolor="white", zorder=3, clip_on=False)
    upper.set(xlim=ends, ylim=ends)
    lower.bar(diagram.x, diagram.users, width=0.03 * (ends[1] - ends[0]), color=ACCENT, alpha=0.55)
    for axes in (upper, lower):
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="y", color="#e4e7eb", linewidth=0.8)
        axes.set_axisbelow(True)
    _labelled(upper, f"{reference}: {diagram.title}", "", diagram.y_label)
    _labelled(lower, "", diagram.x_label, "users")
    return figure


def _labelled(axes: "Axes", title: str, x: str, y: str) -> None:
    """Whatever the texts hold is text and no formula."""
    axes.set_title(title, parse_math=False)
    axes.set_xlabel(x, parse_math=False)
    axes.set_ylabel(y, parse_math=False)
