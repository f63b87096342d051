"""A patch beside what anybody would try first: metrics with their intervals, sizes, and who is better."""

from collections.abc import Iterator, Mapping

from ._output import Document, Drawing, interval, table


def metric_table(patches: Mapping[str, Document]) -> Drawing:
    """For each task's patch a row, and one for each of its baselines, on the same test users."""
    columns = list(dict.fromkeys(metric for patch in patches.values() for metric in patch["metrics"]["test"]))
    drawn = table(["", *columns], [], right=columns)
    for name, patch in patches.items():
        contenders = {_titled(name, patch): patch["metrics"]["test"], **patch["metrics"]["baselines"]}
        for contender, scores in contenders.items():
            drawn.add_row(contender, *(_cell(scores.get(column)) for column in columns))
        drawn.add_section()
    yield drawn
    yield "Below a version: its parameters, and as a share of its backbone; below a value: the 95% interval."
    for name, patch in patches.items():
        yield from better_baselines(name, patch)


def _titled(name: str, patch: Document) -> str:
    share = patch["params"] / patch["backbone_params"]
    return f"{name}@{patch['version']}\n{patch['params']:,} ({share:.1%})"


def better_baselines(name: str, patch: Document) -> Iterator[str]:
    """A sentence for every baseline with the better primary metric (of which less is better)."""
    metrics = patch["metrics"]
    for baseline, differences in metrics["differences"].items():
        worse = differences[metrics["primary"]]
        if worse["value"] > 0:
            certain = "better" if worse["low"] > 0 else "better, though perhaps by chance,"
            yield (
                f"The baseline {baseline} is {certain} than {name}@{patch['version']}: "
                f"its {metrics['primary']} is lower by {interval(worse)}."
            )


def _cell(value: Mapping[str, float] | None) -> str:
    """Two short lines, so that five metrics fit on a narrow terminal; `--json` has every digit."""
    return "-" if value is None else f"{value['value']:.3f}\n{value['low']:.2f}..{value['high']:.2f}"
