"""The profile card: everything that is known about one user, with where each answer comes from."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ._output import Document, table, text

if TYPE_CHECKING:
    from rich.console import RenderableType


def card(user: Document) -> "RenderableType":
    """One user: a row for each task; with how many events are known, where any is not."""
    from rich.panel import Panel

    given = user["tasks"].values()
    columns = ["patch", "value", "source", "predicted", "predicted p"]
    if any(_known(answer) < answer["events"] for answer in given):
        columns.append("events known")
    columns += [extra for extra in ("details", "gates") if any(extra in answer for answer in given)]
    cells = [_cells(task, answer) for task, answer in user["tasks"].items()]
    answers = table(
        columns,
        ([row[column] for column in columns] for row in cells),
        right=["predicted p", "events known"],
    )
    backbones = ", ".join(dict.fromkeys(answer["backbone"] for answer in given))
    days = ", ".join(sorted({answer["as_of"][:10] for answer in given}))
    return Panel.fit(
        answers,
        title=text(f"user {user['user_id']} · {user['events']:,} events"),
        title_align="left",
        subtitle=text(f"on {backbones} · as of {days}"),
        subtitle_align="right",
        padding=0,
    )


def sensitive(tasks: Mapping[str, Document]) -> Iterator[str]:
    """A line on those tasks whose answers are sensitive, where there are any."""
    if named := sorted(task for task, told in tasks.items() if told["sensitive"]):
        yield f"Sensitive personal data: {', '.join(named)}."


def _cells(task: str, answer: Document) -> dict[str, Any]:
    """By column; an observed value stands beside what the patch alone would have said."""
    chance = answer["predicted_probability"]
    return {
        "patch": f"{task}@{answer['version']}",
        "value": answer["value"],
        "source": answer["source"] + (", in sample" if answer["in_sample"] else ""),
        "predicted": answer["predicted"],
        "predicted p": None if chance is None else f"{chance:.0%}",
        "events known": f"{_known(answer):,} of {answer['events']:,}",
        "details": answer.get("details"),
        "gates": _opened(answer.get("gates")),
    }


def _known(answer: Document) -> int:
    """Events that its backbone knows; a table of an older program does not tell."""
    return int(answer.get("known", answer["events"]))


def _opened(gates: Sequence[float] | None) -> str | None:
    """`2 of 8 blocks: 0 3`, or a share of each where they are open in part."""
    if gates is None:
        return None
    if any(gate not in (0, 1) for gate in gates):
        return " ".join(f"{gate:.0%}" for gate in gates)
    opened = [str(block) for block, gate in enumerate(gates) if gate]
    named = f": {' '.join(opened)}" if opened else ""
    return f"{len(opened)} of {len(gates)} blocks{named}"
