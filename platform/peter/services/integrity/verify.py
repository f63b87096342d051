"""Proof that the registry and its store are what they say, and that every champion answers as it did."""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from sqlalchemy.orm import Session

from peter.errors import CorruptObject, PeterError, kept
from peter.progress import Progress
from peter.registry import aliases, audit, integrity, live, models, patches, record, shape
from peter.registry.backup import RESTORE
from peter.registry.objects import ObjectStore, changed, missing
from peter.services.backbone import frozen
from peter.services.integrity import certificates, repair
from peter.services.patch import patch_objects
from peter.services.workspace import Workspace

Damaged = dict[str, str]  # an object's name -> the sentence on what is wrong with it

_HASHERS = 4  # threads: neither hashlib nor a file system needs Python's lock
_MEGA = 1e6


def verify(
    workspace: Workspace, quick: bool, progress: Progress, copies: Sequence[ObjectStore] | None = None
) -> dict[str, Any]:
    """Check the schema, every reference, the audit, every object and every champion's golden outputs.

    Args:
        quick: see only that objects are there and not empty, and recompute no golden outputs.
        copies: None: look, and change nothing. Else repair what can be, from these stores as well as the own.

    Returns:
        `checked` says what was looked at, `repaired` what was done and `problems` what is wrong (now), in one
        sentence each.
    """
    with workspace.registry.read() as session:
        if unreadable := shape.unreadable(session.connection()):
            return {"checked": {"schema": False}, "repaired": [], "problems": unreadable}
        needed = live.objects(session)
    sizes = workspace.objects.sizes()
    damaged = _gone(workspace, sizes, needed) if quick else _unlike(workspace, sizes, needed, progress)
    repaired = []
    if copies is not None:
        repaired = repair.repair(workspace, {sha256: needed[sha256] for sha256 in damaged}, copies)
        damaged = {name: told for name in damaged if (told := _damage(workspace.objects, name))}
    with workspace.registry.read() as session:
        rows = _rows(session)
        needed = live.objects(session)  # also because what was replaced meanwhile may have been collected
        champions = [] if quick else aliases.champions(session)
    lost = [f"{told} It is {needed[name][0]}." for name, told in damaged.items() if name in needed]
    whole = [patch for patch in champions if not damaged.keys() & _read_by(patch)]
    wrong = _recomputed(workspace, whole, progress)
    checked = {part: not found for part, found in rows.items()} | {
        "objects": len(needed),
        "bytes": sum(sizes.get(name, 0) for name in needed),
        "champions": len(whole),
    }
    problems = [*(problem for found in rows.values() for problem in found), *lost, *wrong]
    return {"checked": checked, "repaired": repaired, "problems": problems}


def _rows(session: Session) -> dict[str, list[str]]:
    """What is wrong with the registry itself, by part."""
    return {
        "schema": shape.problems(session.connection()),
        "references": [*integrity.problems(session), *_misfits(session)],
        "audit": audited(session),
    }


def audited(session: Session) -> list[str]:
    """What is wrong with the audit: its chain, or what it says of the rows."""
    broken = audit.verify(session)
    chain = [] if broken is None else [f"Audit row {broken.id} was changed or follows a missing one."]
    return [*chain, *record.problems(session)]


def _misfits(session: Session) -> Iterator[str]:
    """Patches that are registered on another backbone than the one that they were made for."""
    for patch in patches.every(session):
        body, adapter = patch.backbone, patch.config.get("adapter", {})
        pinned = {"base_model_sha256": body.weights_sha256, "item_vocab_sha256": body.vocab_sha256}
        if any(adapter.get(key, value) != value for key, value in pinned.items()):
            yield f"{patch.reference} was made for another backbone than {body.reference}; {RESTORE}"


def _gone(workspace: Workspace, sizes: Mapping[str, int], needed: Mapping[str, Any]) -> Damaged:
    """Objects that are not there, or empty: what is seen without reading any."""
    faults = {None: missing, 0: changed}
    return {
        name: str(faults[sizes.get(name)](name, workspace.objects)) for name in needed if not sizes.get(name)
    }


def _unlike(
    workspace: Workspace, sizes: Mapping[str, int], needed: Mapping[str, Any], progress: Progress
) -> Damaged:
    """Objects that are not there, or do not hash to their names."""
    found: Damaged = {}
    total = sum(sizes.get(name, 0) for name in needed) / _MEGA
    pool = ThreadPoolExecutor(_HASHERS)
    try:
        with progress.bar("hash objects", total, "MB") as bar:
            for name, told in zip(needed, pool.map(partial(_damage, workspace.objects), needed), strict=True):
                found |= {name: told} if told else {}
                bar.advance(sizes.get(name, 0) / _MEGA)
    finally:
        pool.shutdown(cancel_futures=True)  # Ctrl-C is not to wait for objects that nobody has begun
    return found


def _damage(objects: ObjectStore, sha256: str) -> str | None:
    try:
        objects.verify(sha256)
    except CorruptObject as error:
        return str(error)
    return None


def _read_by(patch: models.Patch) -> set[str]:
    read = (older["sha256"] for older in patch.config.get("reads", ()))
    return {patch.weights_sha256, patch.backbone.weights_sha256, *read}


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
        except Exception as error:  # noqa: BLE001 - an edited row may break whatever reads it
            yield row, _unopened(row.reference, error)
        else:
            yield row, None


def _unopened(reference: str, error: Exception) -> str:
    """Not that the row or its object was changed, which the audit and hashes would tell, too."""
    return (
        f"This installation of peter cannot open {reference} ({kept(error)}); where `peter verify` finds "
        "nothing that was changed, install peter again, `pip install -c constraints.txt .`, or the version "
        "that you had before."
    )


def others(workspace: Workspace, changing: str) -> list[models.Patch]:
    """The champions of all tasks but `changing`."""
    with workspace.registry.read() as session:
        return [patch for patch in aliases.champions(session) if patch.task.name != changing]


def require(workspace: Workspace, rows: list[models.Patch], changing: str) -> None:
    """Recompute these versions. Raises PeterError when one answers otherwise than it did."""
    for _, problem in recheck(workspace, rows):
        if problem:
            raise PeterError(f"{problem} {changing} was left as it was.")
