"""Older patches, as a method sees them that reads what other tasks have learnt."""

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any

from safetensors.torch import load_file
from torch import Tensor

from peter.methods import Older
from peter.registry import lineage, models
from peter.registry.objects import ObjectStore
from peter.services.frozen import Frozen
from peter.services.packing import unindexed
from peter.services.workspace import Workspace


def readable(
    workspace: Workspace, base: Frozen, task: str, among: Sequence[int] | None = None
) -> list[Older]:
    """Every version on this very backbone whose task was not removed, oldest first.

    Args:
        task: the one that reads.
        among: the ids of the only ones to give; None: all.
    """
    with workspace.registry.read() as session:
        found = [
            (version, session.get_one(models.Patch, version.id))
            for version in sorted(lineage.versions(session), key=lambda version: version.id)
            if version.backbone_id == base.id and (among is None or version.id in among)
        ]
    return [_seen(workspace.objects, version, patch, task) for version, patch in found]


def _seen(objects: ObjectStore, version: lineage.Version, patch: models.Patch, task: str) -> Older:
    return Older(
        id=version.id,
        reference=version.reference,
        standing="own" if version.task == task else "champion" if version.champion else "other",
        method=version.method,
        options=patch.config["options"],
        sha256=patch.weights_sha256,
        tensors=_tensors(objects, patch.weights_sha256),
    )


def told(reads: Iterable[Older]) -> list[dict[str, Any]]:
    """As the row of the patch that reads them keeps them."""
    fields = ("id", "reference", "standing", "method", "options", "sha256")
    return [{field: getattr(older, field) for field in fields} for older in reads]


def named(objects: ObjectStore, kept: Iterable[Mapping[str, Any]]) -> list[Older]:
    """The inverse of `told`."""
    return [Older(**each, tensors=_tensors(objects, each["sha256"])) for each in kept]


def _tensors(objects: ObjectStore, sha256: str) -> Any:
    """Reads them when first asked for. Raises CorruptObject then."""

    def read() -> Mapping[str, Tensor]:
        return unindexed(load_file(objects.path(sha256)))

    return cache(read)
