"""The registry's other tasks on a backbone, as a method sees them that learns several at once."""

from peter.data.event_log import EventLog
from peter.data.labels import LabelTable
from peter.methods import OtherTask
from peter.registry import aliases
from peter.services.backbone.frozen import Frozen
from peter.services.patch.recipes import Recipe
from peter.services.task.labelled import prepare
from peter.services.workspace import Workspace


def neighbours(workspace: Workspace, base: Frozen, log: EventLog, name: str) -> list[OtherTask]:
    """Every champion on this very backbone but that of the task called `name`, by its task's name.

    One that was imported without its labels has nothing to teach.
    """
    with workspace.registry.read() as session:
        champions = [
            patch
            for patch in aliases.champions(session)
            if patch.backbone_id == base.id and patch.task.name != name
        ]
    found = []
    for patch in champions:
        kind, schema = Recipe.of(patch).kind, patch.config["schema"]
        table = LabelTable.decode(workspace.objects.read(patch.label_set.sha256))
        if table.users:
            users = prepare(base, log, table, kind, schema)
            found.append(OtherTask(kind, schema, users.train, users.valid))
    return found
