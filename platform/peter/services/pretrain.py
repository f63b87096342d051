"""Pre-training a backbone, freezing it, and registering what was frozen."""

import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from safetensors.torch import save
from sqlalchemy.orm import Session

from peter import faults
from peter.config import BackboneConfig, PretrainConfig, from_dict, to_dict
from peter.data.histories import Histories
from peter.data.splits import TEST, TRAIN, VALID, assign
from peter.errors import InputError
from peter.nn.backbone import build_backbone
from peter.progress import Progress
from peter.registry import backbones, event_logs, models, names, runs
from peter.services.backbones import document
from peter.services.logs import open_log
from peter.services.running import ended, running
from peter.services.workspace import Workspace
from peter.training.pretrain import EpochReport, checked, ranking_of
from peter.training.pretrain import pretrain as train
from peter.training.pretrain_model import PretrainModel

AGAIN = "peter backbone pretrain --resume {run}"


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


def pretrain(
    workspace: Workspace,
    data: str,
    name: str,
    shape: BackboneConfig,
    config: PretrainConfig,
    progress: Progress,
) -> dict[str, Any]:
    """Train a backbone on an event log; users of the test split are left out. The same request is made once.

    Raises:
        InputError: the log, the name or a setting cannot be used; nothing was changed.
        Interrupted: stopped by a signal; the run can be resumed.
    """
    names.check("a backbone", name)
    with workspace.registry.read() as session:
        plan = Plan(name, event_logs.get(session, data), shape, config)
        known = _known(session, plan)
    if known:
        progress.say(f"{known.reference} was made by this very request before.")
        return document(known)
    job = _Job.begin(workspace, plan)
    with running(workspace, "pretrain", name, plan.to_json(), AGAIN) as run:
        return document(_trained(workspace, plan, job, run, progress))


def resume(workspace: Workspace, run_id: int, progress: Progress) -> dict[str, Any]:
    """Go on with a run that was stopped or killed, from its checkpoint to the same weights.

    Raises:
        InputError: no pre-training, still under way, or finished.
    """

    def take(session: Session) -> tuple[models.Run, Plan]:
        runs.interrupt_dead(session)
        run = runs.get(session, run_id)
        if run.kind != "pretrain":
            raise InputError(f"Run {run_id} is no pre-training but a {run.kind}; see `peter run list`.")
        shape = from_dict(BackboneConfig, run.params["shape"])
        config = from_dict(PretrainConfig, run.params["config"])
        log = event_logs.get(session, run.params["log"])
        return runs.resume(session, run_id, workspace.actor), Plan(run.params["name"], log, shape, config)

    run, plan = workspace.registry.write(take)
    with ended(workspace, run, AGAIN):
        return document(_trained(workspace, plan, _Job.begin(workspace, plan), run, progress))


def _known(session: Session, plan: Plan) -> models.Backbone | None:
    """The version that this very request made before."""
    wanted = (plan.name, plan.log.id, to_dict(plan.shape), to_dict(plan.config))
    made = [
        row
        for row in backbones.every(session)
        if (row.name, row.event_log_id, row.architecture, row.config) == wanted
    ]
    return made[-1] if made else None


@dataclass(frozen=True)
class _Job:
    """What a plan asks for, in memory: a fresh model and the users by part of the split."""

    model: PretrainModel
    learn: Histories
    valid: Histories
    test: Histories

    @classmethod
    def begin(cls, workspace: Workspace, plan: Plan) -> "_Job":
        """Read the events and build the model. Raises InputError for what cannot be trained."""
        log = open_log(workspace, plan.log)
        parts = assign(log.user_ids, plan.config.salt)
        learn, valid, test = (log.histories(np.flatnonzero(parts == part)) for part in (TRAIN, VALID, TEST))
        checked(plan.config, plan.shape.causal, learn, valid)
        body = build_backbone(plan.shape, log.vocabulary.size, plan.config.seed)
        return cls(PretrainModel(body, log.vocabulary.size), learn, valid, test)


def _trained(
    workspace: Workspace, plan: Plan, job: _Job, run: models.Run, progress: Progress
) -> models.Backbone:
    directory = workspace.run_directory(run.id)
    checkpoint = directory / "checkpoint.safetensors"
    reports = train(job.model, job.learn, job.valid, plan.config, checkpoint, progress)
    best = _followed(workspace, run, reports)
    metrics = {
        "valid": {"loss": best.valid_loss, **best.metrics},
        "test": ranking_of(job.model, job.test, plan.config),
        "epochs": best.epoch,
    }
    faults.reach("backbone.pretrain:trained")
    row = _register(workspace, plan, run, job.model, metrics)
    shutil.rmtree(directory)
    return row


def _followed(workspace: Workspace, run: models.Run, reports: Iterable[EpochReport]) -> EpochReport:
    """The report of the epoch whose weights were kept."""
    kept: EpochReport | None = None
    for report in reports:
        kept = report if report.best else kept
        workspace.registry.write(lambda session: runs.heartbeat(session, run.id))
        faults.reach(f"backbone.pretrain:epoch{report.epoch}")
    assert kept is not None
    return kept


def _register(
    workspace: Workspace, plan: Plan, run: models.Run, model: PretrainModel, metrics: dict[str, Any]
) -> models.Backbone:
    tensors = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    with workspace.objects.holding():
        weights = workspace.objects.put_bytes(save(tensors))
        faults.reach("backbone.pretrain:stored")

        def register(session: Session) -> models.Backbone:
            row = models.Backbone(
                name=plan.name,
                event_log=session.get_one(models.EventLog, plan.log.id),
                architecture=to_dict(plan.shape),
                config=to_dict(plan.config),
                objective=plan.config.objective,
                salt=plan.config.salt,
                params=sum(parameter.numel() for parameter in model.body.parameters()),
                weights_sha256=weights,
                vocab_sha256=plan.log.vocab_sha256,
                metrics=metrics,
                run_id=run.id,
            )
            runs.finish(session, run.id, metrics)
            return backbones.add(session, row, workspace.actor)

        return workspace.registry.write(register)
