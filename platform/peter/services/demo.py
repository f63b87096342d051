"""The whole path once, on data that anybody can install: from a behaviour log to users' profiles."""

from pathlib import Path
from typing import Any

from peter.config import BackboneConfig, PretrainConfig
from peter.data.sources import SOURCES, Source
from peter.data.splits import TEST, assign
from peter.errors import UnknownName
from peter.progress import Progress
from peter.registry import backbones
from peter.services.backbone.pretrain import pretrain
from peter.services.event_log.events import import_events
from peter.services.logs import open_log
from peter.services.profile.materialize import materialize
from peter.services.profile.profiles import get
from peter.services.task.tasks import list_tasks, show_task
from peter.services.version.train import Change, Told, add_tasks
from peter.services.workspace import Workspace

CARDS = 3
EVENTS = 2_000_000  # that pre-training sees, or three times a longer log: the demo has to end


def demo(workspace: Workspace, data: str, progress: Progress) -> dict[str, Any]:
    """Import, pre-train, add every task of the data, and answer for some held-out users.

    What it makes is an ordinary workspace; run again, it goes on with what is missing.

    Returns:
        `tasks` as `task show` has them, `users` as `profile get`, and `next`, commands to try.

    Raises:
        InputError: no such data, or its package is not installed; the message has the command to install it.
    """
    if data not in SOURCES:
        raise UnknownName("demo data set", data, SOURCES)
    directory = workspace.root.parent / "demo" / data
    directory.mkdir(parents=True, exist_ok=True)
    source = SOURCES[data](directory)
    name = data.replace("-", "_")
    log = import_events(workspace, [source.events], name, None, None, None, 1, 1, progress, source.items)
    passes = max(3, EVENTS // log["events"])
    config = PretrainConfig(epochs=min(20, passes))
    pretrain(workspace, f"{name}@{log['version']}", name, BackboneConfig(), config, progress)
    _add_tasks(workspace, name, source, [f"epochs={min(8, passes)}", "patience=4"], progress)
    materialize(workspace, list(source.labels), progress)
    users = get(workspace, _held_out(workspace, name), live=False)["users"]
    return {
        "tasks": [show_task(workspace, task) for task in source.labels],
        "users": users,
        "next": _next(source, users[0]),
    }


def _add_tasks(
    workspace: Workspace, backbone: str, source: Source, settings: list[str], progress: Progress
) -> None:
    finished = {task["name"] for task in list_tasks(workspace)["tasks"] if task["champion"]}
    for task, labels in source.labels.items():
        if task not in finished:
            progress.say(f"task {task}")
            told, change = Told(workspace.actor), Change(settings=settings, seed=0, seeds=1, twin=False)
            add_tasks(
                workspace, {task: labels}, None, source.kind, backbone, told, change,
                force=False, address=None, progress=progress,
            )  # fmt: skip


def _held_out(workspace: Workspace, backbone: str) -> list[str]:
    """Some users of the test split, whom nothing was trained on."""
    with workspace.registry.read() as session:
        row = backbones.get(session, backbone)
    users = open_log(workspace, row.event_log).user_ids
    return [user for user, part in zip(users, assign(users, row.salt), strict=True) if part == TEST][:CARDS]


def _next(source: Source, user: dict[str, Any]) -> list[str]:
    task, labels = next(iter(source.labels.items()))
    return [
        f"peter profile get {user['user_id']}",
        f'peter profile query "{_holds(task, user["tasks"][task]["value"])}" --limit 5',
        f"peter task add again --labels {_short(labels)}",
        f"peter tune {task} --trials 8",
        "peter verify",
    ]


def _holds(task: str, value: Any) -> str:
    """The condition that a user's answer is this one, or that its list begins so."""
    if isinstance(value, list):
        return f"{task}[1] = '{value[0]}'"
    return f"{task} = '{value}'"


def _short(path: Path) -> str:
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)
