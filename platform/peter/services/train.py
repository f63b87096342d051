"""Adding a task, and training its next version: the two commands by which a team works."""

from pathlib import Path
from typing import Any

from sqlalchemy.orm import Session

from peter import faults
from peter.data.labels import read_labels
from peter.errors import InputError, NameTaken
from peter.methods import method as method_of
from peter.progress import Progress
from peter.registry import aliases, backbones, models, names, patches, tasks
from peter.services import versions
from peter.services.kinds import choose
from peter.services.recipes import Recipe
from peter.services.requests import Request
from peter.services.workspace import Workspace


def add_task(
    workspace: Workspace,
    name: str,
    labels: Path,
    column: str | None,
    kind_name: str | None,
    method: str,
    backbone: str | None,
    owner: str | None,
    description: str,
    sensitive: bool,
    settings: list[str] | None,
    seed: int,
    seeds: int,
    twin: bool,
    force: bool,
    progress: Progress,
) -> dict[str, Any]:
    """Add a task with its first version, which becomes champion; go on where an earlier try stopped.

    Raises:
        InputError: anything the user gave cannot be used; nothing was changed.
        NameTaken: the task exists and has a champion.
    """
    _require_deployable(name, method)
    table = read_labels(labels, column)
    recipe = Recipe.make(choose(table, kind_name), method, settings or (), seed)
    with workspace.registry.read() as session:
        begun = _unfinished(session, name)
        if begun:
            tasks.authorise(begun, workspace.actor, force)
        row = backbones.get(session, backbone) if backbone else backbones.only(session)
    request = Request.read(workspace, name, table, row, recipe, seeds=seeds, twin=twin)

    def begin(session: Session) -> models.Task:
        outputs = dict(request.schema)
        if begun:
            task = tasks.get(session, name)
            return tasks.begin_again(session, task, request.kind.name, outputs, workspace.actor)
        task = models.Task(
            name=name, kind=request.kind.name, owner=owner or workspace.actor, description=description,
            sensitive=sensitive, outputs=outputs,
        )  # fmt: skip
        return tasks.add(session, task, workspace.actor)

    workspace.registry.write(begin)
    faults.reach("task.add:task")
    return versions.make(workspace, request, promote=True, progress=progress)


def train_task(
    workspace: Workspace,
    name: str,
    labels: Path | None,
    column: str | None,
    method: str | None,
    backbone: str | None,
    settings: list[str] | None,
    seed: int | None,
    seeds: int | None,
    twin: bool,
    force: bool,
    promote: bool,
    progress: Progress,
) -> dict[str, Any]:
    """Train a task's next version on new labels, another recipe or backbone; promoted through the gate.

    What is not given stays as it is in the champion. The same request gives the version that it made before.

    Raises:
        InputError: anything the user gave cannot be used; nothing was changed.
        NotOwner: somebody else's task, and no `force`.
    """
    with workspace.registry.read() as session:
        task = tasks.get(session, name)
        tasks.authorise(task, workspace.actor, force)
        champion = patches.get(session, name)
        row = backbones.get(session, backbone) if backbone else None
    _require_deployable(name, method or champion.method)
    table = read_labels(labels, column) if labels else None
    recipe = Recipe.after(champion, method, settings or (), seed)
    seeds = seeds or champion.metrics.get("seeds", {"count": 1})["count"]
    request = Request.after(workspace, champion, table, recipe, row, seeds, twin)
    return versions.make(workspace, request, promote, progress)


def _require_deployable(name: str, method: str) -> None:
    """Raises InputError for a method that only compares."""
    if not method_of(method).deployable:
        raise InputError(
            f"Method {method} is there to be compared with and cannot answer for {name!r}; "
            f"choose another, and then try `peter task compare {name} --methods peter,{method}`."
        )


def _unfinished(session: Session, name: str) -> models.Task | None:
    """The task that an earlier `task add` began. Raises NameTaken when it is finished."""
    found = {task.name: patch for task, patch in aliases.with_champions(session)}
    if name not in found:
        names.check_task(name, found)
        return None
    if found[name]:
        raise NameTaken(
            f"Task {name!r} exists; train its next version with `peter task train {name} --labels FILE`."
        )
    return tasks.get(session, name)
