"""Adding a task, and training its next version: the two commands by which a team works."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sqlalchemy.orm import Session

from peter import faults
from peter.data.labels import LabelTable, read_labels
from peter.errors import InputError, NameTaken
from peter.methods import method as method_of
from peter.progress import Progress
from peter.registry import aliases, backbones, models, names, patches, tasks
from peter.services.backbone.pretrain import known_root, root_of
from peter.services.patch import warm_start
from peter.services.patch.recipes import DEFAULT_METHOD, Recipe, seeds
from peter.services.patch.requests import Request
from peter.services.task.kinds import choose
from peter.services.version.batch import make_each
from peter.services.workspace import Workspace


@dataclass(frozen=True)
class Change:
    """What the next version is to have otherwise than the champion has it; nothing given, nothing changed."""

    method: str | None = None
    settings: Sequence[str] = ()
    seed: int | None = None
    seeds: int | None = None
    twin: bool = True
    warm: str | None = None  # the version to go on from, or `auto`; of a first version alone


@dataclass(frozen=True)
class Told:
    """What people are told of a new task."""

    owner: str
    description: str = ""
    sensitive: bool = False


def add_tasks(
    workspace: Workspace,
    files: Mapping[str, Path],
    column: str | None,
    kind_name: str | None,
    backbone: str | None,
    told: Told,
    change: Change,
    force: bool,
    address: str | None,
    progress: Progress,
) -> dict[str, Any]:
    """Add tasks, each with its file of labels and a first version, which becomes champion.

    A task that an earlier try left unfinished goes on.

    Returns:
        `{tasks: [..]}`: each task's document, or `{name, error}` of one of several that failed.

    Raises:
        InputError: anything the user gave cannot be used; nothing was begun.
        NameTaken: a task exists and has a champion; likewise.
    """
    requests = [
        _first(workspace, name, labels, column, kind_name, backbone, change, force)
        for name, labels in files.items()
    ]
    requests = [rooted(workspace, request, progress) for request in requests]
    _begin(workspace, requests, told)
    again = f"peter task add {' '.join(files)} .."
    return {"tasks": make_each(workspace, requests, True, address, again, progress)}


def _first(
    workspace: Workspace,
    name: str,
    labels: Path,
    column: str | None,
    kind_name: str | None,
    backbone: str | None,
    change: Change,
    force: bool,
) -> Request:
    """The request for a task's first version. Raises InputError, NameTaken."""
    how = change.method or DEFAULT_METHOD
    _require_deployable(name, how)
    table = read_labels(labels, column)
    recipe = Recipe.make(choose(table, kind_name), how, change.settings, change.seed or 0)
    with workspace.registry.read() as session:
        if begun := _unfinished(session, name):
            tasks.authorise(begun, workspace.actor, force)
        row = backbones.get(session, backbone) if backbone else backbones.only(session)
    row = _ground(workspace, row, recipe)
    count, draft = change.seeds or 1, _awaits_root(row, recipe)
    request = Request.read(workspace, name, table, row, recipe, seeds=count, twin=change.twin, draft=draft)
    return warm_start.begin(workspace, request, change.warm) if change.warm else request


def _begin(workspace: Workspace, requests: Sequence[Request], told: Told) -> None:
    """Write the rows of new tasks, all of them or none."""

    def begin(session: Session) -> None:
        for request in requests:
            outputs = dict(request.schema)
            if begun := _unfinished(session, request.name):
                tasks.begin_again(session, begun, request.kind.name, outputs, workspace.actor)
            else:
                task = models.Task(name=request.name, kind=request.kind.name, outputs=outputs, **asdict(told))
                tasks.add(session, task, workspace.actor)

    workspace.registry.write(begin)
    faults.reach("task.add:task")


def train_tasks(
    workspace: Workspace,
    names: Sequence[str] | None,
    labels: Path | None,
    column: str | None,
    change: Change,
    backbone: str | None,
    force: bool,
    promote: bool,
    address: str | None,
    progress: Progress,
) -> dict[str, Any]:
    """Train the next version of tasks on new labels, another recipe or backbone; promoted through the gate.

    What is not given stays as it is in the champion. The same request gives the version that it made before.

    Args:
        names: None: every task that has a champion.
        labels: a file of new labels, for a task that is named alone.

    Returns:
        `{tasks: [..]}`: each task's document, or `{name, error}` of one of several that failed.

    Raises:
        InputError: anything the user gave cannot be used; nothing was begun.
        NotOwner: somebody else's task, and no `force`.
    """
    with workspace.registry.read() as session:
        every = aliases.require_champions(session) if names is None else []
        champions = every or [patches.get(session, name) for name in names or ()]
        for patch in champions:
            tasks.authorise(patch.task, workspace.actor, force)
        row = backbones.get(session, backbone) if backbone else None
    table = read_labels(labels, column) if labels else None
    requests = [following(workspace, champion, change, table, row) for champion in champions]
    requests = [rooted(workspace, request, progress) for request in requests]
    again = "peter task train --all .."
    return {"tasks": make_each(workspace, requests, promote, address, again, progress)}


def following(
    workspace: Workspace,
    champion: models.Patch,
    change: Change,
    table: LabelTable | None = None,
    row: models.Backbone | None = None,
) -> Request:
    """The request for the version after `champion`, to be `rooted`. Raises InputError."""
    _require_deployable(champion.task.name, change.method or champion.method)
    recipe = Recipe.after(champion, change.method, change.settings, change.seed)
    row = _ground(workspace, row or champion.backbone, recipe)
    count, draft = change.seeds or seeds(champion.metrics), _awaits_root(row, recipe)
    request = Request.after(workspace, champion, table, recipe, row, count, change.twin, draft)
    return warm_start.as_before(workspace, request, champion)


def rooted(workspace: Workspace, request: Request, progress: Progress) -> Request:
    """The request itself, or for one that is a draft that on the root which is derived for it now."""
    with workspace.registry.read() as session:
        row = backbones.get(session, request.base.reference)
    if not _awaits_root(row, request.recipe):
        return request
    root = root_of(workspace, row, request.recipe.options.pruned, progress)
    return Request.read(
        workspace, request.name, request.table, root, request.recipe, request.schema, request.seeds,
        request.twin,
    )  # fmt: skip


def _ground(workspace: Workspace, row: models.Backbone, recipe: Recipe) -> models.Backbone:
    """That backbone, or the root of the lineage on it for a method that appends to one. Raises InputError."""
    if not method_of(recipe.method).rooted:
        return row
    if not recipe.options.deep:
        raise InputError(
            f"Method {recipe.method} with deep=off owns nothing of a backbone; "
            "give --method peter, or deep=on."
        )
    return known_root(workspace, row) or row


def _awaits_root(row: models.Backbone, recipe: Recipe) -> bool:
    """Whether the method appends to a lineage, and the backbone is not the root of one."""
    return method_of(recipe.method).rooted and not row.pruned


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
