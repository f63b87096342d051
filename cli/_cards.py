"""The profile card: everything that is known about one user, with where each answer comes from."""

from typing import TYPE_CHECKING, Any

from ._output import Document, table, text

if TYPE_CHECKING:
    from rich.console import RenderableType


def card(user: Document) -> "RenderableType":
    """One user: a row for each task."""
    from rich.panel import Panel

    answers = table(
        ["task", "value", "probability", "version", "source", "as of"],
        (_row(task, answer) for task, answer in user["tasks"].items()),
        right=["probability"],
    )
    title = text(f"user {user['user_id']} · {user['events']:,} events")
    return Panel.fit(answers, title=title, title_align="left")


def _row(task: str, answer: Document) -> list[Any]:
    probability = answer["probability"]
    return [
        task,
        answer["value"],
        None if probability is None else f"{probability:.0%}",
        answer["version"],
        answer["source"] + (", in sample" if answer["in_sample"] else ""),
        answer["as_of"][:10],
    ]
