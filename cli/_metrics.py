"""A patch beside what anybody would try first: metrics with their intervals, sizes, and who is better."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from peter.interval import Interval, negative, turned

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
        yield from remarks(name, patch)


def _table(patches: Mapping[str, Document], columns: Sequence[str]) -> "Table":
    drawn = table(["", *columns], [], right=columns)
    for name, patch in patches.items():
        contenders = {_titled(name, patch): patch["metrics"]["test"], **patch["metrics"]["baselines"]}
        for contender, scores in contenders.items():
            if any(column in scores for column in columns):
                drawn.add_row(contender, *(cell(scores.get(column)) for column in columns))
        drawn.add_section()
    return drawn


def remarks(name: str, patch: Document) -> Iterator[str]:
    """What the table alone does not say: what parts of it add, what calibration did, who is better."""
    metrics, reference = patch["metrics"], f"{name}@{patch['version']}"
    yield from _added(reference, metrics)
    yield from _read(reference, metrics)
    yield from _went_on(reference, metrics)
    yield from _opened(reference, metrics)
    yield from _calibrated(reference, metrics)
    for skipped in metrics.get("skipped", ()):
        yield (
            f"The twin {skipped} of {reference} was skipped (--no-twin): what pre-training is worth to it is "
            "not known."
        )
    yield from better_baselines(name, patch)


def _added(reference: str, metrics: Document) -> Iterator[str]:
    """Also where it is nothing: a patch has to earn its place beside counting."""
    if "wide" in metrics["differences"]:
        gain = primary_gain(metrics, metrics["differences"]["wide"])
        yield (
            f"The neural part of {reference} adds {_signed(gain)} in {metrics['primary']} to the wide term "
            "alone (more is better)."
        )


def _read(reference: str, metrics: Document) -> Iterator[str]:
    """What older patches are worth to it, each alone and against the same patch fitted without any."""
    for older, differences in metrics.get("reads", {}).items():
        gain = _signed(primary_gain(metrics, differences))
        yield f"{reference} reads {older}, which is worth {gain} in {metrics['primary']} to it as it stands."
    if "unread" in metrics["differences"]:
        gain = _signed(primary_gain(metrics, metrics["differences"]["unread"]))
        yield f"Reading gained {reference} {gain} in {metrics['primary']} over the same patch without it."


def _went_on(reference: str, metrics: Document) -> Iterator[str]:
    """What a warm start gained, also where that is nothing."""
    if warm := metrics.get("warm_start"):
        gain = _signed(primary_gain(metrics, metrics["differences"]["cold"]))
        yield (
            f"{reference} went on from {warm['from']} (similarity {warm['similarity']:.2f}), which gained it "
            f"{gain} in {metrics['primary']} over the same patch started cold."
        )


def _opened(reference: str, metrics: Document) -> Iterator[str]:
    """How much of it users have, and whether that differs between them."""
    if gates := metrics.get("gates"):
        use, opened = gates["use"], gates["open"]
        each = " ".join(f"{share:.0%}" for share in use)
        plural = "policy" if gates["policies"] == 1 else "different policies"
        yield (
            f"{reference} opens {opened['mean']:.1f} ± {opened['sd']:.1f} of {len(use)} blocks to a user "
            f"(block by block {each}), by {gates['policies']} {plural}."
        )
    if "blind" in metrics["differences"]:
        gain = _signed(primary_gain(metrics, metrics["differences"]["blind"]))
        yield f"Choosing gained {reference} {gain} in {metrics['primary']} over as many at random."


def _calibrated(reference: str, metrics: Document) -> Iterator[str]:
    before, after = metrics.get("uncalibrated", {}).get("ece"), metrics["test"].get("ece")
    if before and after:
        yield f"Calibration of {reference}: ece {before['value']:.3f} -> {after['value']:.3f}."


def better_baselines(name: str, patch: Document) -> Iterator[str]:
    """A sentence for every baseline with the better primary metric."""
    metrics = patch["metrics"]
    for baseline, differences in metrics["differences"].items():
        gain = primary_gain(metrics, differences)
        who = baseline if "@" in baseline else f"The baseline {baseline}"  # or the champion before
        yield from better(who, f"{name}@{patch['version']}", metrics, negative(gain))


def better(who: str, whom: str, metrics: Document, gain: Interval) -> Iterator[str]:
    """A sentence where `who` gains over `whom` in digits that are told, and whether that may be chance."""
    if round(gain["value"], 3) > 0:
        certain = "better" if gain["low"] > 0 else "better, though perhaps by chance,"
        direction = "higher" if metrics.get("maximise") else "lower"
        yield f"{who} is {certain} than {whom}: its {metrics['primary']} is {direction} by {interval(gain)}."


def primary_gain(metrics: Document, difference: Document) -> Interval:
    """The difference in the primary metric, more being better."""
    return turned(difference[metrics["primary"]], metrics.get("maximise", False))


def seed_table(patch: Document) -> Drawing:
    """What all seeds of a version tell, where there are several."""
    metrics = patch["metrics"]
    if seeds := metrics.get("seeds"):
        columns = list(seeds["test"]["ours"])
        gain = f"{metrics['primary']} gain over it"
        rows = (
            [name, *(_spread(scores[column]) for column in columns), _over(metrics, seeds, name)]
            for name, scores in seeds["test"].items()
        )
        yield table(["", *columns, gain], rows, right=[*columns, gain])
        last = seeds["first"] + seeds["count"] - 1
        yield (
            f"Mean ± standard deviation over the seeds {seeds['first']} to {last}; the version is that of "
            f"seed {seeds['first']}."
        )


def _over(metrics: Document, seeds: Document, name: str) -> str | None:
    if name not in seeds["differences"]:
        return None
    return _signed(primary_gain(metrics, seeds["differences"][name]))


def _spread(value: Mapping[str, float]) -> str:
    return f"{value['mean']:.3f} ± {value['sd']:.3f}"


def _signed(value: Interval) -> str:
    """`+0.012 [-0.003, +0.027]`, and +0.000 for less than nothing that rounds to it."""
    plain, low, high = (round(value[key], 3) + 0.0 for key in ("value", "low", "high"))
    return f"{plain:+.3f} [{low:+.3f}, {high:+.3f}]"


def _titled(name: str, patch: Document) -> str:
    share = patch["params"] / patch["backbone_params"]
    return f"{name}@{patch['version']}\n{patch['params']:,} ({share:.1%})"


def cell(value: Mapping[str, float] | None) -> str:
    """Two short lines, so that `ABREAST` metrics fit on a narrow terminal; `--json` has every digit."""
    return "-" if value is None else f"{value['value']:.3f}\n{value['low']:.2f}..{value['high']:.2f}"
