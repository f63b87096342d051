"""A patch beside what anybody would try first: metrics with their intervals, sizes, and who is better."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from ._output import Document, Drawing, interval, table

if TYPE_CHECKING:
    from rich.table import Table

ABREAST = 5  # metrics in a table; more are drawn in another one below


def metric_table(patches: Mapping[str, Document]) -> Drawing:
    """For each task's patch a row, and one for each of its baselines, on the same test users."""
    columns = list(dict.fromkeys(metric for patch in patches.values() for metric in patch["metrics"]["test"]))
    for first in range(0, len(columns), ABREAST):
        yield _table(patches, columns[first : first + ABREAST])
    yield "Below a version: its parameters, and as a share of its backbone; below a value: the 95% interval."
    for name, patch in patches.items():
        yield from better_baselines(name, patch)


def _table(patches: Mapping[str, Document], columns: Sequence[str]) -> "Table":
    drawn = table(["", *columns], [], right=columns)
    for name, patch in patches.items():
        contenders = {_titled(name, patch): patch["metrics"]["test"], **patch["metrics"]["baselines"]}
        for contender, scores in contenders.items():
            if any(column in scores for column in columns):
                drawn.add_row(contender, *(_cell(scores.get(column)) for column in columns))
        drawn.add_section()
    return drawn


def _titled(name: str, patch: Document) -> str:
    share = patch["params"] / patch["backbone_params"]
    return f"{name}@{patch['version']}\n{patch['params']:,} ({share:.1%})"


def better_baselines(name: str, patch: Document) -> Iterator[str]:
    """A sentence for every baseline with the better primary metric."""
    metrics = patch["metrics"]
    for baseline, differences in metrics["differences"].items():
        worse, direction = differences[metrics["primary"]], "lower"
        if metrics["maximise"]:
            ends = {"value": "value", "low": "high", "high": "low"}
            worse, direction = {name: -worse[end] for name, end in ends.items()}, "higher"
        if worse["value"] > 0:
            certain = "better" if worse["low"] > 0 else "better, though perhaps by chance,"
            yield (
                f"The baseline {baseline} is {certain} than {name}@{patch['version']}: "
                f"its {metrics['primary']} is {direction} by {interval(worse)}."
            )


def _cell(value: Mapping[str, float] | None) -> str:
    """Two short lines, so that `ABREAST` metrics fit on a narrow terminal; `--json` has every digit."""
    return "-" if value is None else f"{value['value']:.3f}\n{value['low']:.2f}..{value['high']:.2f}"
