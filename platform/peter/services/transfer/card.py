"""The card of an exported patch: for people who find the directory, in Markdown."""

from collections.abc import Iterator, Mapping
from typing import Any

from peter.registry import models


def card(row: models.Patch) -> str:
    """What it answers, how well, on which backbone, and how to use it."""
    return "\n\n".join(part for part in _parts(row) if part) + "\n"


def _parts(row: models.Patch) -> Iterator[str]:
    base = row.backbone
    yield f"# {row.reference}"
    yield (
        f"What the task `{row.task.name}` ({row.task.kind}) adds to a frozen backbone: a patch of peter's, "
        f"method `{row.method}`, {row.params:,} parameters."
    )
    yield row.task.description
    yield "Its answers are marked as sensitive personal data." if row.task.sensitive else ""
    yield "\n".join(_table(row))
    yield (
        f"On {row.metrics['users']['test']} test users that nobody was trained on; in brackets the 95 % "
        "interval."
    )
    yield f"It was made for the backbone `{base.reference}` and answers on no other:"
    yield f"- weights `{base.weights_sha256}`\n- vocabulary `{base.vocab_sha256}`"
    yield (
        "`peter task import DIR` registers it where that backbone is. The two `adapter_` files have peft's "
        "layout, but stock peft cannot run them: a bottleneck patch on dilated convolutions is none of its "
        "methods."
    )


def _table(row: models.Patch) -> Iterator[str]:
    contenders: Mapping[str, Any] = {row.reference: row.metrics["test"], **row.metrics["baselines"]}
    columns = list(row.metrics["test"])
    yield f"| | {' | '.join(columns)} |"
    yield f"|---|{'---|' * len(columns)}"
    for name, scores in contenders.items():
        yield f"| {name} | {' | '.join(_cell(scores.get(column)) for column in columns)} |"


def _cell(score: Mapping[str, float] | None) -> str:
    return "{value:.3f} [{low:.3f}, {high:.3f}]".format(**score) if score else ""
