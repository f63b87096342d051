"""What the examples share: figures over splits and users, and sections of a report."""

import argparse
import math
import platform
import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from experiment import Record, Records
from scipy.stats import t

from peter.training.bootstrap import interval, resample

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LESS_IS_BETTER = {"log_loss", "ece", "mae", "rmse"}
HERE = Path(__file__).parent.parent
HEAD = """# Results

Every figure on this page was measured and written by experiments (`make results`); nothing is typed by hand.
"""


def gain(ours: Record, theirs: Record, metric: str) -> float:
    """How much better ours is; more is better."""
    difference: float = ours["metrics"][metric] - theirs["metrics"][metric]
    return -difference if metric in LESS_IS_BETTER else difference


def on_users(ours: Record, theirs: Record) -> str:
    """The gain in the primary metric with its paired bootstrap interval over the test users of one split."""
    gains = torch.tensor(theirs["costs"]) - torch.tensor(ours["costs"])  # [B]
    drawn = resample(len(gains)) @ gains / len(gains)
    return "{value:+.3f} [{low:+.3f}, {high:+.3f}]".format(**interval(float(gains.mean()), drawn))


def corrected(values: Sequence[float], users: Sequence[int]) -> tuple[float, float, float]:
    """Mean and 95 % interval of a figure over splits that share most of their users.

    Splits are no independent samples: the variance is widened by test users per training user (Nadeau and
    Bengio, Inference for the generalization error, 2003).

    Args:
        values: one a split.
        users: training, validation and test users of a split.
    """
    mean = statistics.fmean(values)
    if len(values) < 2:
        return mean, -math.inf, math.inf
    spread = statistics.variance(values) * (1 / len(values) + users[2] / users[0])
    half = float(t.ppf(0.975, len(values) - 1)) * math.sqrt(spread)
    return mean, mean - half, mean + half


def told(values: Sequence[float], users: Sequence[int]) -> str:
    """`+0.012 [+0.003, +0.021]`."""
    return "{:+.3f} [{:+.3f}, {:+.3f}]".format(*corrected(values, users))


def spread(values: Sequence[float]) -> str:
    """`0.712 ± 0.013`, the standard deviation over splits or seeds."""
    deviation = statistics.stdev(values) if len(values) > 1 else 0.0
    return f"{statistics.fmean(values):.3f} ± {deviation:.3f}"


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown; all columns but the first hold numbers."""
    head = [list(columns), ["---", *["---:"] * (len(columns) - 1)]]
    return "\n".join(f"| {' | '.join(row)} |" for row in [*head, *rows]) + "\n"


def section(path: Path, name: str, text: str, measured: str) -> None:
    """Put `text` into the report under its name, in place of what stood there, and when it was measured."""
    begin, end = f"<!-- begin {name} -->", f"<!-- end {name} -->"
    versions = ", ".join(
        f"{package} {version(package)}" for package in ("peter-rec", "torch", "scikit-learn")
    )
    made = f"*Measured on {measured} with {versions}, Python {platform.python_version()}.*"
    report = path.read_text() if path.exists() else HEAD
    part = f"{begin}\n{text.strip()}\n\n{made}\n{end}"
    if begin in report:
        before, rest = report.split(begin)
        report = f"{before}{part}{rest.split(end)[1]}"
    else:
        report = f"{report.rstrip()}\n\n{part}\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(report)


def picture(figure: "Figure", path: Path) -> None:
    """Write a figure; the same figure gives the same bytes."""
    from matplotlib import rc_context

    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    with rc_context({"svg.hashsalt": "peter"}):
        figure.savefig(path, metadata={"Date": None})


@dataclass(frozen=True)
class Given:
    """What the command line of an example says."""

    root: Path  # where data and records are kept
    page: Path  # the report
    small: bool
    jobs: int
    splits: int
    sections: Sequence[str]  # none: all of them

    def write(self, name: str, text: Callable[[], str], records: Records) -> None:
        """Make a section out of records and put it into the report, if it is wanted."""
        if not self.sections or name in self.sections:
            section(self.page, name, text(), records.made())
            print(f"{name!r} written to {self.page}", flush=True)


def main(report: Callable[[Given], None], about: str) -> None:
    """The command line of an example: `--small` for a corner of it, which writes nothing into docs/."""
    parser = argparse.ArgumentParser(description=about.partition("\n")[0])
    parser.add_argument("--small", action="store_true", help="a corner of it, in minutes")
    parser.add_argument("--jobs", type=int, default=2, help="splits that are measured at once")
    parser.add_argument("--splits", type=int, default=10, help="of the protocols over many splits")
    parser.add_argument("--root", type=Path, default=HERE / "build", help="where data and records are kept")
    parser.add_argument("sections", nargs="*", help="only these sections of the report")
    given = parser.parse_args()
    root = given.root / ("small" if given.small else "full")
    page = root / "results.md" if given.small else HERE / "docs" / "results.md"
    report(Given(root, page, given.small, given.jobs, given.splits, given.sections))
