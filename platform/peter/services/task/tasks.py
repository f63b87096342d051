"""What there is to know about tasks: one with its champion and versions, all of them, a label report."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from peter.registry import aliases, backbones, models, patches, tasks
from peter.services.workspace import Workspace

if TYPE_CHECKING:
    from peter.data.labels import LabelTable


def list_tasks(workspace: Workspace) -> dict[str, Any]:
    """`{tasks: [{name, kind, owner, sensitive, champion, backbone, updated}]}`."""
    with workspace.registry.read() as session:
        return {"tasks": [_line(task, champion) for task, champion in aliases.with_champions(session)]}


def show_task(workspace: Workspace, name: str) -> dict[str, Any]:
    """A task, its champion beside the baselines on test users, and its versions. Raises UnknownName."""
    with workspace.registry.read() as session:
        task = tasks.get(session, name)
        version = aliases.version(session, task, aliases.CHAMPION)
        challenger = aliases.version(session, task, aliases.CHALLENGER)
        made = patches.versions(session, task)
    champion = next((patch for patch in made if patch.version == version), None)
    return {
        "name": task.name,
        "kind": task.kind,
        "owner": task.owner,
        "description": task.description,
        "sensitive": task.sensitive,
        "champion": _answer(champion) if champion else None,
        "challenger": challenger,
        "versions": [_version(patch, version, challenger) for patch in made],
    }


def show_version(workspace: Workspace, reference: str) -> dict[str, Any]:
    """The task's document with a `report` on one version, be it champion or not. Raises UnknownName."""
    with workspace.registry.read() as session:
        patch = patches.get(session, reference)
        champion = aliases.version(session, patch.task, aliases.CHAMPION)
    return report(workspace, patch, patch.version == champion, patch.metrics["gate"]["reason"])


def versions(workspace: Workspace, name: str) -> dict[str, Any]:
    """`{versions: [..], history: [{alias, from, to, at, actor, why}]}`, oldest first. Raises UnknownName."""
    with workspace.registry.read() as session:
        moves = aliases.history(session, tasks.get(session, name))
    return {"versions": show_task(workspace, name)["versions"], "history": [_move(move) for move in moves]}


def report(workspace: Workspace, patch: models.Patch, promoted: bool, reason: str) -> dict[str, Any]:
    """The task's document with a `report` on the version that was just made."""
    document = show_task(workspace, patch.task.name)
    return {**document, "report": {**_answer(patch), "promoted": promoted, "reason": reason}}


def label_set_of(
    table: "LabelTable", task: models.Task, sha256: str, report: dict[str, Any]
) -> models.LabelSet:
    """The row of a table of a task's labels, which is stored as `sha256`; not registered."""
    rows = sum(map(len, table.labels))
    return models.LabelSet(task=task, sha256=sha256, rows=rows, users=len(table.users), report=report)


def check_labels(
    workspace: Workspace, labels: Path, column: str | None, kind: str | None, backbone: str | None
) -> dict[str, Any]:
    """What `task add` would make of a label file; nothing is changed. Raises InputError as it would."""
    from peter.data.labels import read_labels
    from peter.services.backbone import frozen
    from peter.services.forgotten import hidden
    from peter.services.logs import open_log
    from peter.services.task.kinds import choose
    from peter.services.task.labelled import prepare

    table = read_labels(labels, column)
    table = table.without(hidden(workspace, table.users))
    chosen = choose(table, kind)
    schema = chosen.schema(table.labels)
    with workspace.registry.read() as session:
        row = backbones.get(session, backbone) if backbone else backbones.only(session)
    users = prepare(frozen.load(workspace, row), open_log(workspace, row.event_log), table, chosen, schema)
    return {"kind": chosen.name, "column": table.column, **schema, **table.report, **users.report}


def _line(task: models.Task, champion: models.Patch | None) -> dict[str, Any]:
    return {
        "name": task.name,
        "kind": task.kind,
        "owner": task.owner,
        "sensitive": task.sensitive,
        "champion": champion.version if champion else None,
        "backbone": champion.backbone.reference if champion else None,
        "updated": (champion.created_at if champion else task.created_at).isoformat(timespec="seconds"),
    }


def _move(move: models.AliasHistory) -> dict[str, Any]:
    return {
        "alias": move.alias,
        "from": move.from_version,
        "to": move.to_version,
        "at": move.at.isoformat(timespec="seconds"),
        "actor": move.actor,
        "why": move.why,
    }


def _version(patch: models.Patch, champion: int | None, challenger: int | None) -> dict[str, Any]:
    return {
        "version": patch.version,
        "champion": patch.version == champion,
        "challenger": patch.version == challenger,
        "method": patch.method,
        "backbone": patch.backbone.reference,
        "state": patch.state,
        "params": patch.params,
        "created": patch.created_at.isoformat(timespec="seconds"),
        "gate": patch.metrics["gate"]["reason"],
    }


def _answer(patch: models.Patch) -> dict[str, Any]:
    return {
        "version": patch.version,
        "backbone": patch.backbone.reference,
        "method": patch.method,
        "params": patch.params,
        "backbone_params": patch.backbone.params,
        "metrics": patch.metrics,
        "certificate": patch.certificate["sha256"] if patch.certificate else None,
    }
