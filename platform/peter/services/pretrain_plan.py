"""What a pre-training is to make of what: as its run keeps it, and in memory."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from sqlalchemy.orm import Session

from peter.config import BackboneConfig, PretrainConfig, from_dict, to_dict
from peter.data.histories import Histories
from peter.data.splits import TEST, TRAIN, VALID, assign
from peter.nn.backbone import build_backbone
from peter.registry import event_logs, models
from peter.services.forgotten import Forgotten
from peter.services.logs import open_log
from peter.services.workspace import Workspace
from peter.training.pretrain import checked
from peter.training.pretrain_model import PretrainModel


@dataclass(frozen=True)
class Plan:
    """What will be trained on what; the run's row holds it, so that a resumed run is the same run."""

    name: str
    log: models.EventLog
    shape: BackboneConfig
    config: PretrainConfig

    def to_json(self) -> dict[str, Any]:
        """As the run keeps it."""
        return {
            "name": self.name,
            "log": self.log.reference,
            "shape": to_dict(self.shape),
            "config": to_dict(self.config),
        }

    @classmethod
    def of(cls, session: Session, run: models.Run) -> "Plan":
        """What a run's row holds."""
        shape = from_dict(BackboneConfig, run.params["shape"])
        config = from_dict(PretrainConfig, run.params["config"])
        return cls(run.params["name"], event_logs.get(session, run.params["log"]), shape, config)


@dataclass(frozen=True)
class Job:
    """What a plan asks for, in memory: a fresh model and the users by part of the split."""

    model: PretrainModel
    learn: Histories
    valid: Histories
    test: Histories
    forgotten: Forgotten  # before they were read

    @classmethod
    def begin(cls, workspace: Workspace, plan: Plan) -> "Job":
        """Read the events and build the model. Raises InputError for what cannot be trained, Busy."""
        forgotten = Forgotten.of(workspace)
        log = open_log(workspace, plan.log)
        parts = assign(log.user_ids, plan.config.salt)
        learn, valid, test = (log.histories(np.flatnonzero(parts == part)) for part in (TRAIN, VALID, TEST))
        checked(plan.config, plan.shape.causal, learn, valid)
        body = build_backbone(plan.shape, log.vocabulary.size, plan.config.seed)
        return cls(PretrainModel(body, log.vocabulary.size), learn, valid, test, forgotten)
