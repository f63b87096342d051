"""Making a version: train, evaluate beside baselines, judge, certify, and register in one transaction."""

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from sqlalchemy.orm import Session

from peter import faults
from peter.methods import method, read_by
from peter.progress import Progress
from peter.registry import aliases, erasures, lineage, models, patches, runs, tasks, twins
from peter.services.backbone import frozen
from peter.services.integrity import certificates, verify
from peter.services.patch import patch_objects
from peter.services.patch.recipes import TWIN
from peter.services.patch.requests import Request
from peter.services.promotion import gate
from peter.services.promotion.contest import MAJORITY, Contest, contest
from peter.services.promotion.evaluation import measured
from peter.services.promotion.twins import Twins
from peter.services.running import running
from peter.services.task.tasks import label_set_of, report
from peter.services.workspace import Workspace

ALREADY_MADE = "this very request made it before"
FLOORS = {TWIN: "its from-scratch twin", MAJORITY: MAJORITY}  # what no later version may be worse than


def make(workspace: Workspace, request: Request, promote: bool, progress: Progress) -> dict[str, Any]:
    """Train, evaluate, certify and register the version that `request` asks for; the task's row exists.

    A request that was answered before gives the version that answered it. The version becomes visible in one
    transaction with its promotion, if the gate is passed, or as the challenger.

    Raises:
        Interrupted: stopped by a signal.
        PeterError: the method or the store did what it must not; nothing was registered.
    """
    if document := answered(workspace, request):
        return document
    with begun(workspace, request) as run:
        return registered(workspace, request, trained(workspace, request, progress), run, promote)


def answered(workspace: Workspace, request: Request) -> dict[str, Any] | None:
    """The document of the version that this very request made before, or None."""
    with workspace.registry.read() as session:
        task = tasks.get(session, request.name)
        known = patches.answering(session, task, request.identity)
        champion = aliases.version(session, task, aliases.CHAMPION)
    if not known:
        return None
    return report(workspace, known, known.version == champion, ALREADY_MADE)


def begun(workspace: Workspace, request: Request, again: str = "") -> AbstractContextManager[models.Run]:
    """A run around the making of a version; `again`: what to type if it is stopped."""
    with workspace.registry.read() as session:
        task = tasks.get(session, request.name)
        champion = aliases.version(session, task, aliases.CHAMPION)
    again = again or f"peter task {'train' if champion else 'add'} {request.name} .."
    params = {**request.recipe.to_json(), "backbone": request.base.reference}
    return running(workspace, "train", request.name, params, again)


@dataclass(frozen=True)
class Made:
    """A trained version that nobody has registered yet: all that its row and its objects will hold."""

    config: dict[str, Any]
    params: int
    weights: bytes
    metrics: dict[str, Any]
    twins: dict[str, bytes]  # request of a twin -> its object
    certificate: dict[str, Any]
    verdict: gate.Verdict
    champion: int | None  # the version that it was judged against
    reads: list[int]  # ids of the patches that it reads


def trained(workspace: Workspace, request: Request, progress: Progress) -> Made:
    """Train and evaluate what `request` asks for; nothing is written, so any process may do it, and again.

    Raises:
        PeterError: the method wrote to the backbone, or another task's champion answers otherwise.
    """
    before = frozen.fingerprint(request.base.body)
    known = Twins.of(workspace, request)
    held = contest(request, known, progress)
    ours = held.ours[0]
    faults.reach("task.add:trained")
    champion = _champion(workspace, request.name)
    if champion and _comparable(request, champion):
        base = frozen.load(workspace, champion.backbone)
        held = held.beside(champion.reference, patch_objects.load(workspace.objects, champion, base))
    verdict = _judged(held, champion)
    metrics = {**measured(held), "seconds": round(ours.seconds, 3)}
    frozen.require_untouched(request.base, before)
    certificate = certificates.issue(request.base, ours.patch)
    verify.require(workspace, verify.others(workspace, request.name), request.name)
    adapter = patch_objects.adapter_config(ours, request.base)
    warm = {"warm_start": request.warm.to_json()} if request.warm else {}
    return Made(
        config={**patch_objects.row_config(ours, adapter), **warm},
        params=ours.params,
        weights=patch_objects.encode(ours, adapter),
        metrics=metrics,
        twins=known.made,
        certificate=certificate,
        verdict=verdict,
        champion=champion.version if champion else None,
        reads=[older.id for older in read_by(ours.patch)],
    )


def registered(
    workspace: Workspace, request: Request, made: Made, run: models.Run, promote: bool
) -> dict[str, Any]:
    """Store a version's objects, and show it as champion, or as challenger, in one transaction.

    Returns:
        The task's document with a `report` on the version.

    Raises:
        Busy: a user was forgotten since the request was read.
    """
    with request.forgotten.keeping(workspace):
        labels = workspace.objects.put_bytes(request.table.encode())
        weights = workspace.objects.put_bytes(made.weights)
        beside = {key: workspace.objects.put_bytes(answers) for key, answers in made.twins.items()}
        faults.reach("task.add:stored")

        def register(session: Session) -> models.Patch:
            erasures.require(session, request.forgotten.fence)
            task = tasks.hold(session, tasks.get(session, request.name))
            present = aliases.version(session, task, aliases.CHAMPION)
            lineage.require(session, made.reads)
            if method(request.recipe.method).rooted:
                lineage.require_last(session, request.base.id, request.recipe.method, made.reads)
            same = present == made.champion
            stands = made.verdict if same else made.verdict.overtaken(f"{task.name}@{present}")
            base = session.get_one(models.Backbone, request.base.id)
            known = {**request.table.report, **request.users.report}
            label_set = label_set_of(request.table, task, labels, known)
            label_set = tasks.add_labels(session, label_set, workspace.actor)
            told = twins.told(label_set, base.event_log, beside)
            patch = patches.add(
                session,
                models.Patch(
                    task=task,
                    backbone=base,
                    label_set=label_set,
                    method=request.recipe.method,
                    config=made.config,
                    fit=request.recipe.to_json()["fit"],
                    request_sha256=request.identity,
                    weights_sha256=weights,
                    params=made.params,
                    metrics={**made.metrics, **told, "gate": stands.to_json()},
                    certificate=made.certificate,
                    reads=made.reads,
                    run_id=run.id,
                ),
                workspace.actor,
            )
            why = stands.reason if promote else f"not asked to become champion; {stands.reason}"
            aliases.settle(session, patch, promote and stands.promote, workspace.actor, why)
            runs.finish(session, run.id, {"version": patch.version, **made.metrics["test"]})
            faults.reach("task.add:registered")
            return patch

        patch = workspace.registry.write(register)
    faults.reach("task.add:committed")
    said = patch.metrics["gate"]
    return report(workspace, patch, promote and said["promote"], said["reason"])


def _champion(workspace: Workspace, name: str) -> models.Patch | None:
    with workspace.registry.read() as session:
        version = aliases.version(session, tasks.get(session, name), aliases.CHAMPION)
        return patches.get(session, f"{name}@{version}") if version else None


def _judged(held: Contest, champion: models.Patch | None) -> gate.Verdict:
    """What the gate says of the new version against the champion and the baselines, on validation users."""
    request, valid = held.request, held.request.users.valid
    if champion and champion.reference not in held.baselines:
        reason = (
            f"{champion.reference} reads other events or answers other classes; compare and promote by hand"
        )
        return gate.Verdict(False, reason, request.kind.primary, {})
    outputs = held.ours[0].outputs(valid.histories)
    rival = champion.reference if champion else None
    moved = champion is not None and (
        champion.backbone_id != request.base.id or champion.state == models.NEEDS_RETRAIN
    )
    verdict = gate.judge(request.setting, valid, outputs, held.rivals(valid), rival, FLOORS, moved)
    return verdict.noting(f"{FLOORS[TWIN]} was not compared") if held.skipped else verdict


def _comparable(request: Request, champion: models.Patch) -> bool:
    """Whether both answer the same for users of the same log under the same split."""
    return (
        champion.backbone.event_log_id == request.base.event_log_id
        and champion.backbone.salt == request.base.salt
        and bool(champion.config["schema"] == dict(request.schema))
    )
