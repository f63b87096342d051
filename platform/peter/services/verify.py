"""Proof that the registry and its store are what they say, and that every champion answers as it did."""

from collections.abc import Iterator
from typing import Any

from peter.errors import PeterError
from peter.progress import Progress
from peter.registry import aliases, audit, live, models
from peter.services import certificates, frozen, patch_objects
from peter.services.workspace import Workspace


def verify(workspace: Workspace, quick: bool, progress: Progress) -> dict[str, Any]:
    """Check the audit chain, every object and, unless `quick`, every champion's golden outputs.

    Returns:
        `checked` counts by kind and `problems`, one sentence each; no problem means an empty list.
    """
    with workspace.registry.read() as session:
        broken = audit.verify(session)
        needed = live.objects(session)
        champions = aliases.champions(session)
    problems = [] if broken is None else [f"Audit row {broken.id} was changed or follows a missing one."]
    with progress.bar("hash objects", len(needed), "objects") as bar:
        for sha256, users in needed.items():
            problems += _damage(workspace, sha256, users)
            bar.advance()
    certified = [] if quick or problems else champions
    if certified:
        problems += _recomputed(workspace, certified, progress)
    checked = {"objects": len(needed), "champions": len(certified), "audit": broken is None}
    return {"checked": checked, "problems": problems}


def _recomputed(workspace: Workspace, champions: list[models.Patch], progress: Progress) -> list[str]:
    with progress.bar("recompute golden outputs", len(champions), "champions") as bar:
        problems = []
        for _, problem in recheck(workspace, champions):
            problems += [problem] if problem else []
            bar.advance()
        return problems


def recheck(workspace: Workspace, patches: list[models.Patch]) -> Iterator[tuple[models.Patch, str | None]]:
    """Each patch with what is wrong with its golden outputs, recomputed from objects freshly read."""
    fresh = Workspace(workspace.registry, workspace.objects.fresh())
    bases: dict[int, frozen.Frozen] = {}
    for row in patches:
        try:
            if row.backbone_id not in bases:
                bases[row.backbone_id] = frozen.load(fresh, row.backbone)
            base = bases[row.backbone_id]
            patch = patch_objects.load(fresh.objects, row, base).patch
            certificates.check(base, patch, row.certificate, row.reference)
        except PeterError as error:
            yield row, str(error)
        else:
            yield row, None


def others(workspace: Workspace, changing: str) -> list[models.Patch]:
    """The champions of all tasks but `changing`."""
    with workspace.registry.read() as session:
        return [patch for patch in aliases.champions(session) if patch.task.name != changing]


def require(workspace: Workspace, rows: list[models.Patch], changing: str) -> None:
    """Recompute these versions. Raises PeterError when one answers otherwise than it did."""
    for _, problem in recheck(workspace, rows):
        if problem:
            raise PeterError(f"{problem} {changing} was left as it was.")


def _damage(workspace: Workspace, sha256: str, users: list[str]) -> list[str]:
    try:
        workspace.objects.verify(sha256)
    except PeterError as error:
        return [f"{error} It is {users[0]}."]
    return []
