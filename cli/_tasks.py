"""How tasks and their versions are drawn."""

import typer

from ._diagrams import diagrams
from ._metrics import metric_table, seed_table
from ._output import Document, Drawing, facts, minute, show, table


def task_list(document: Document) -> Drawing:
    columns = ("name", "kind", "owner", "sensitive", "champion", "backbone")
    yield table(
        [*columns, "updated (UTC)"],
        ([*(task[column] for column in columns), minute(task["updated"])] for task in document["tasks"]),
    )


def version_list(document: Document) -> Drawing:
    columns = ("state", "method", "backbone", "params", "gate")
    yield table(
        ["version", "alias", *columns, "created (UTC)"],
        (
            [row["version"], _alias(row), *(row[column] for column in columns), minute(row["created"])]
            for row in document["versions"]
        ),
        right=["params"],
    )
    if moves := document.get("history"):
        moved = ("alias", "from", "to", "actor", "why")
        yield table(
            [*moved, "moved (UTC)"],
            ([*(row[column] for column in moved), minute(row["at"])] for row in moves),
        )


def task(document: Document) -> Drawing:
    """A task with its champion, or the version in question, beside the baselines, and its versions."""
    shown = ("champion", "versions", "report", "plots", "left")
    yield facts({name: value for name, value in document.items() if name not in shown})
    if patch := document.get("report") or document["champion"]:
        yield from metric_table({document["name"]: patch})
        yield from seed_table(patch)
        reference = f"{document['name']}@{patch['version']}"
        yield from diagrams(reference, patch["metrics"].get("diagrams", ()))
    yield from version_list(document)
    yield from (f"written to {path}" for path in document.get("plots", ()))


def trained(document: Document) -> Drawing:
    """The version that was just made, and whether it answers now."""
    report = document["report"]
    yield from metric_table({document["name"]: report})
    yield from seed_table(report)
    reference = f"{document['name']}@{report['version']}"
    outcome = "is champion" if report["promoted"] else "stays a candidate"
    yield f"{reference} {outcome}: {report['reason']}."
    promotion = f"task promote {reference}, to make it champion all the same"
    yield f"Next: peter {'profile get USER' if report['promoted'] else promotion}"


def promoted(document: Document) -> Drawing:
    """What became of the champion, the task, and the words that take it back."""
    name, version, left = document["name"], document["champion"]["version"], document["left"]
    reference, moved = f"{name}@{version}", left not in (None, version)
    was = f"; it was {name}@{left}" if moved else " already" if left else ""
    yield f"{reference} is the champion{was}."
    yield from task(document)
    if moved:
        yield f"Next: peter task rollback {reference}, to take it back."


def rolled_back(document: Document) -> Drawing:
    """The task, and the words that leave the same version however often they are typed."""
    name, left = document["name"], f"{document['name']}@{document['left']}"
    yield from task(document)
    yield f"{name}@{document['champion']['version']} is champion in place of {left}."
    yield f"The same again, and no further: peter task rollback {left}"


def show_made(found: Document, as_json: bool, several: bool) -> None:
    """The version that was just made, or one of several tasks each; ends with 1 where one failed."""
    show(found if several else found["tasks"][0], as_json, _made_all if several else trained)
    if any("error" in task for task in found["tasks"]):
        raise typer.Exit(1)


def _made_all(document: Document) -> Drawing:
    """A line a task: its new version beside what anybody would try first, and whether it answers now."""
    yield table(
        ["task", "version", "champion", "metric", "test users", "why"],
        (_line(task) for task in document["tasks"]),
        right=["test users"],
    )
    yield "Next: peter task show NAME"


def _alias(row: Document) -> str | None:
    return next((alias for alias in ("champion", "challenger") if row[alias]), None)


def _line(task: Document) -> list[object]:
    if "error" in task:
        return [task["name"], None, None, None, None, task["error"]]
    report = task["report"]
    metric = report["metrics"]["primary"]
    value = report["metrics"]["test"][metric]["value"]
    return [task["name"], report["version"], report["promoted"], metric, value, report["reason"]]
