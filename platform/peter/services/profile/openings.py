"""Opening what answers are made of: patches, backbones and event logs, each once a process."""

from peter.data.event_log import EventLog
from peter.registry import models
from peter.services.backbone import frozen
from peter.services.logs import open_log
from peter.services.profile.answers import Answerer
from peter.services.workspace import Workspace


class Openings:
    """What is open of a workspace, by its rows' ids."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._bases: dict[int, frozen.Frozen] = {}
        self._logs: dict[int, EventLog] = {}

    def answerer(self, patch: models.Patch) -> Answerer:
        """A patch version ready to answer; not kept, as its labels may be many. Raises CorruptObject."""
        return Answerer.load(self._workspace.objects, patch, self.base(patch.backbone))

    def log(self, row: models.EventLog) -> EventLog:
        """An event log as it is; `Answerer.reading` makes of it what a patch reads. Raises CorruptObject."""
        if row.id not in self._logs:
            self._logs[row.id] = open_log(self._workspace, row)
        return self._logs[row.id]

    def base(self, row: models.Backbone) -> frozen.Frozen:
        """A backbone. Raises CorruptObject."""
        if row.id not in self._bases:
            self._bases[row.id] = frozen.load(self._workspace, row)
        return self._bases[row.id]
