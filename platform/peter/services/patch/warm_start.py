"""Warm starts: the patch of another task whose trunk a new one goes on from."""

from collections.abc import Sequence
from dataclasses import replace

from peter.config import to_dict
from peter.errors import InputError
from peter.methods import Older
from peter.progress import Silent
from peter.registry import models, patches
from peter.services.patch import patch_objects
from peter.services.patch.fitting import fitted
from peter.services.patch.older import WarmStart
from peter.services.patch.requests import Request
from peter.services.workspace import Workspace
from peter.training.similarity import similarity

AUTO = "auto"
DIGITS = 4  # of a similarity


def begin(workspace: Workspace, request: Request, wanted: str) -> Request:
    """The request with its trunk going on from a version, or from the most similar champion for `auto`.

    Similar is a patch whose answers for the training users are like those of a convex head on the bare
    backbone that learnt the new task: it needs nobody else's labels.

    Raises:
        UnknownName: no such version.
        InputError: a version that is not made alike; for `auto`, none that is, or none similar beyond chance.
    """
    if wanted == AUTO:
        candidates = [older for older in request.older() if _is_champion_alike(request, older)]
    else:
        candidates = [_named(workspace, request, wanted)]
    if not candidates:
        raise InputError(
            f"No other task on {request.base.reference} has a champion of method {request.recipe.method} "
            "with these very settings; leave out --warm-start."
        )
    best, found, chance = _most_similar(workspace, request, candidates)
    if wanted == AUTO and found <= chance:
        raise InputError(
            f"No task on {request.base.reference} is like {request.name} beyond chance (most is "
            f"{best.reference}, {found:.3f}); leave out --warm-start, or name a task to start from."
        )
    return replace(request, warm=WarmStart(best, round(found, DIGITS)))


def as_before(workspace: Workspace, request: Request, champion: models.Patch) -> Request:
    """The request with the champion's warm start, where that still fits and learnt from nobody forgotten."""
    kept = champion.config.get("warm_start")
    if kept is None or request.base.id != champion.backbone_id:
        return request
    with workspace.registry.read() as session:
        row = session.get(models.Patch, kept["id"])
    warm = WarmStart.of(workspace.objects, kept)
    there = row is not None and row.weights_sha256 == kept["sha256"] and row.state == models.READY
    return request if not there or _unlike(request, warm.patch) else replace(request, warm=warm)


def _is_champion_alike(request: Request, older: Older) -> bool:
    return older.standing == "champion" and not _unlike(request, older)


def _named(workspace: Workspace, request: Request, wanted: str) -> Older:
    with workspace.registry.read() as session:
        row = patches.get(session, wanted)
    found = next((older for older in request.older() if older.id == row.id), None)
    why = _unlike(request, found) if found else f"it is not on {request.base.reference}"
    if row.state != models.READY:
        why = "it learnt from somebody who was forgotten"
    if found is None or why:
        raise InputError(f"{request.name} cannot start from {row.reference}: {why}; leave out --warm-start.")
    return found


def _unlike(request: Request, older: Older) -> str:
    """Why a trunk cannot go on from that of an older patch; empty if it can."""
    ours, theirs = to_dict(request.recipe.options), older.options
    if older.method != request.recipe.method:
        return f"its method is {older.method}"
    if other := sorted(key for key in ours if ours[key] != theirs.get(key)):
        return f"its settings differ in {', '.join(other)}"
    if "reads" in ours:
        return f"what a patch of method {older.method} holds is of what it reads"
    if not ours.get("deep"):
        return f"method {older.method} as set has no trunk"
    return ""


def _most_similar(
    workspace: Workspace, request: Request, candidates: Sequence[Older]
) -> tuple[Older, float, float]:
    """Whose answers for training users are most like the new task's convex head's; how much; by chance."""
    users = request.users.train.histories
    head = fitted(request.recipe.beside("probe"), request.setting, request.users, Silent()).outputs(users)
    with workspace.registry.read() as session:
        rows = [session.get_one(models.Patch, older.id) for older in candidates]
    answers = [patch_objects.load(workspace.objects, row, request.base).outputs(users) for row in rows]
    measured = [(older, *similarity(head, theirs)) for older, theirs in zip(candidates, answers, strict=True)]
    return max(measured, key=lambda each: each[1])
