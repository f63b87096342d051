"""Pre-training a backbone, freezing it, and registering what was frozen."""

import shutil
from collections.abc import Iterable
from typing import Any

from safetensors.torch import save
from sqlalchemy.orm import Session

from peter import faults
from peter.config import BackboneConfig, PretrainConfig, to_dict
from peter.errors import InputError
from peter.progress import Progress
from peter.registry import backbones, erasures, event_logs, models, names, runs
from peter.services.backbone.backbones import document
from peter.services.backbone.catalogues import stored
from peter.services.backbone.pretrain_crew import CHECKPOINT, noted, train_together
from peter.services.backbone.pretrain_plan import Job, Plan
from peter.services.crew import ALONE, Crew
from peter.services.running import RESUME, ended, running
from peter.services.workspace import Workspace
from peter.training.objectives import objective
from peter.training.position import EpochReport
from peter.training.pretrain import pretrain as train
from peter.training.pretrain_ranking import ranking_of


def pretrain(
    workspace: Workspace,
    data: str,
    name: str,
    shape: BackboneConfig,
    config: PretrainConfig,
    progress: Progress,
    crew: Crew = ALONE,
) -> dict[str, Any]:
    """Train a backbone on an event log; users of the test split are left out. The same request is made once.

    Who trains it is no part of the request: a crew gives what one process gives, up to rounding.

    Raises:
        InputError: the log, the name or a setting cannot be used; nothing was changed.
        Interrupted: stopped by a signal; the run can be resumed.
    """
    names.check("a backbone", name)
    with workspace.registry.read() as session:
        plan = Plan(name, event_logs.get(session, data), shape, config)
        _require_one(plan, crew)
        known = _known(session, plan)
    if known:
        progress.say(f"{known.reference} was made by this very request before.")
    return document(known or _make_backbone(workspace, plan, progress, crew))


def root_of(workspace: Workspace, row: models.Backbone, pruned: float, progress: Progress) -> models.Backbone:
    """The root of a lineage: `row` itself, the newest that was derived from it, or one derived now.

    Args:
        pruned: the share of its weights that a new root frees for tasks to come.

    Raises:
        InputError: nothing can be learnt from its event log.
        Interrupted: stopped by a signal; the run can be resumed.
    """
    if known := known_root(workspace, row):
        return known
    root = _make_backbone(workspace, Plan.root(row, pruned), progress, ALONE)
    progress.say(
        f"{root.reference} is the root of a lineage: {row.reference} with {pruned:.0%} of its weights freed "
        "and the rest trained on."
    )
    return root


def known_root(workspace: Workspace, row: models.Backbone) -> models.Backbone | None:
    """The root of a lineage that is there: `row` itself, or the newest that was derived from it."""
    if row.pruned:
        return row
    with workspace.registry.read() as session:
        outdated = erasures.unlearnable(session)
        grown = [other for other in backbones.every(session) if other.pruned and other.parent_id == row.id]
    return next((other for other in reversed(grown) if other.reference not in outdated), None)


def _make_backbone(workspace: Workspace, plan: Plan, progress: Progress, crew: Crew) -> models.Backbone:
    job = Job.begin(workspace, plan)
    with running(workspace, "pretrain", plan.name, plan.to_json(), RESUME["pretrain"]) as run:
        return _trained(workspace, plan, job, run, progress, crew)


def resume(workspace: Workspace, run_id: int, progress: Progress, crew: Crew = ALONE) -> dict[str, Any]:
    """Go on with a run that was stopped or killed, from its checkpoint to the same weights.

    Raises:
        InputError: no pre-training, still under way, or finished; or several workers where one must do it.
    """

    def take(session: Session) -> tuple[models.Run, Plan]:
        runs.interrupt_dead(session)
        run = runs.get(session, run_id)
        if run.kind != "pretrain":
            raise InputError(f"Run {run_id} is no pre-training but a {run.kind}; see `peter run list`.")
        plan = Plan.of(session, run)
        _require_one(plan, crew)
        return runs.resume(session, run_id, workspace.actor), plan

    run, plan = workspace.registry.write(take)
    with ended(workspace, run, RESUME["pretrain"]):
        return document(_trained(workspace, plan, Job.begin(workspace, plan), run, progress, crew))


def _require_one(plan: Plan, crew: Crew) -> None:
    """Raises InputError where each of several processes would see a part of what has to be seen whole."""
    if crew.workers > 1 and objective(plan.config, plan.shape.causal).compares:
        raise InputError(
            f"The objective {plan.config.objective} compares all users of a step in one process; "
            "leave out --workers."
        )


def _known(session: Session, plan: Plan) -> models.Backbone | None:
    """The version that this very request made before, unless it learnt from somebody who is forgotten now."""
    outdated = erasures.unlearnable(session)
    wanted = (plan.name, plan.log.id, to_dict(plan.shape), to_dict(plan.config))
    made = [
        row
        for row in backbones.every(session)
        if (row.name, row.event_log_id, row.architecture, row.config) == wanted
        and row.reference not in outdated
        and not row.pruned
    ]
    return made[-1] if made else None


def _trained(
    workspace: Workspace, plan: Plan, job: Job, run: models.Run, progress: Progress, crew: Crew
) -> models.Backbone:
    directory = workspace.run_directory(run.id)
    checkpoint = directory / CHECKPOINT
    if not crew.alone:
        train_together(workspace, plan, run, crew, progress)  # up to a checkpoint behind its last epoch
    reports = train(job.model, job.learn, job.valid, plan.config, checkpoint, progress)
    best = _followed(workspace, run, reports)
    metrics = {
        "valid": {"loss": best.valid_loss, **best.metrics},
        "test": ranking_of(job.model, job.test, plan.config),
        "epochs": best.epoch,
        **({"pruned": plan.pruned} if job.root else {}),
        **({"features": fitted.widths} if (fitted := job.model.fitted) else {}),
    }
    faults.reach("backbone.pretrain:trained")
    row = _register(workspace, plan, run, job, metrics)
    shutil.rmtree(directory)
    return row


def _followed(workspace: Workspace, run: models.Run, reports: Iterable[EpochReport]) -> EpochReport:
    """The report of the epoch whose weights were kept."""
    kept: EpochReport | None = None
    for report in reports:
        kept = report if report.best else kept
        noted(workspace, run.id, report)
    assert kept is not None
    return kept


def _register(
    workspace: Workspace, plan: Plan, run: models.Run, job: Job, metrics: dict[str, Any]
) -> models.Backbone:
    space = stored(job.model.fitted.space) if job.model.fitted else {}
    root = job.root.tensors() if job.root else {}
    everything = job.model.state_dict() | space | root
    tensors = {name: tensor.contiguous() for name, tensor in everything.items()}
    with job.forgotten.keeping(workspace):
        weights = workspace.objects.put_bytes(save(tensors))
        faults.reach("backbone.pretrain:stored")

        def register(session: Session) -> models.Backbone:
            erasures.require(session, job.forgotten.fence)
            row = models.Backbone(
                name=plan.name,
                event_log=session.get_one(models.EventLog, plan.log.id),
                architecture=to_dict(plan.shape),
                config=to_dict(plan.config),
                objective=plan.config.objective,
                salt=plan.config.salt,
                params=sum(parameter.numel() for parameter in job.model.body.parameters()),
                weights_sha256=weights,
                vocab_sha256=plan.log.vocab_sha256,
                metrics=metrics,
                run_id=run.id,
                parent_id=plan.parent.id if plan.parent else None,
            )
            runs.finish(session, run.id, metrics)
            return backbones.add(session, row, workspace.actor)

        return workspace.registry.write(register)
