"""What a pre-training is to make of what: as its run keeps it, and in memory."""

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from safetensors.torch import load_file
from sqlalchemy.orm import Session

from peter.config import BackboneConfig, PretrainConfig, from_dict, to_dict
from peter.data.histories import Histories
from peter.data.splits import TEST, TRAIN, VALID, assign
from peter.nn.backbone import build_backbone
from peter.nn.owned import Root
from peter.registry import backbones, event_logs, models
from peter.services.backbone.catalogues import fitted_features
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
    parent: models.Backbone | None = None  # to be pruned and trained on; None: a fresh body
    pruned: float = 0.0  # the share of its weights that is freed

    @classmethod
    def root(cls, parent: models.Backbone, pruned: float) -> "Plan":
        """To derive the root of a lineage from `parent`, trained on as that was trained."""
        shape, config = (
            from_dict(BackboneConfig, parent.architecture),
            from_dict(PretrainConfig, parent.config),
        )
        return cls(parent.name, parent.event_log, shape, config, parent, pruned)

    def to_json(self) -> dict[str, Any]:
        """As the run keeps it."""
        root = {"parent": self.parent.reference, "pruned": self.pruned} if self.parent else {}
        return {
            "name": self.name,
            "log": self.log.reference,
            "shape": to_dict(self.shape),
            "config": to_dict(self.config),
            **root,
        }

    @classmethod
    def of(cls, session: Session, run: models.Run) -> "Plan":
        """What a run's row holds."""
        shape = from_dict(BackboneConfig, run.params["shape"])
        config = from_dict(PretrainConfig, run.params["config"])
        log = event_logs.get(session, run.params["log"])
        parent = backbones.get(session, run.params["parent"]) if "parent" in run.params else None
        return cls(run.params["name"], log, shape, config, parent, run.params.get("pruned", 0.0))


@dataclass(frozen=True)
class Job:
    """What a plan asks for, in memory: the model to train and the users by part of the split."""

    model: PretrainModel
    root: Root | None  # what is kept of a model that was pruned
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
        asking = checked(plan.config, plan.shape.causal, learn, valid)
        items = log.vocabulary.size
        fitting = partial(fitted_features, workspace, plan.log, log.vocabulary, plan.config.text_encoder)
        body = build_backbone(plan.shape, items, plan.config.seed)
        model = asking.model(body, learn.items.bincount(minlength=items), fitting)
        root = _pruned(workspace, plan.parent, model, plan.pruned) if plan.parent else None
        return cls(model, root, learn, valid, test, forgotten)


def _pruned(workspace: Workspace, parent: models.Backbone, model: PretrainModel, share: float) -> Root:
    """Give `model` the weights that `parent` has, without the smallest. Raises CorruptObject."""
    stored = load_file(workspace.objects.path(parent.weights_sha256))
    model.load_state_dict({name: stored[name] for name in model.state_dict()})
    root = Root.cut(model.body, share)
    root.hold(model.body)
    return root
