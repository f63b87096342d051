"""Older patches, as a method sees them that reads what other tasks have learnt."""

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from safetensors.torch import load_file
from torch import Tensor

from peter.methods import Older, Standing
from peter.registry import lineage, models
from peter.registry.objects import ObjectStore
from peter.services.backbone.frozen import Frozen
from peter.services.patch.packing import unindexed
from peter.services.workspace import Workspace


def readable(workspace: Workspace, base: Frozen, task: str) -> list[Older]:
    """Every version on this very backbone whose task was not removed, oldest first; `task` is who reads."""
    with workspace.registry.read() as session:
        every = lineage.versions(session)
        behind = lineage.readers_in_turn(every, task)
        found = [
            (version, session.get_one(models.Patch, version.id))
            for version in sorted(every, key=lambda version: version.id)
            if version.backbone_id == base.id
        ]
    return [_seen(workspace.objects, version, patch, task, behind) for version, patch in found]


def _seen(
    objects: ObjectStore, version: lineage.Version, patch: models.Patch, task: str, behind: Container[str]
) -> Older:
    answers = version.champion and patch.state == models.READY  # or it learnt from somebody who was forgotten
    standing: Standing = "champion" if answers and version.task not in behind else "other"
    return Older(
        id=version.id,
        reference=version.reference,
        standing="own" if version.task == task else standing,
        method=version.method,
        options=patch.config["options"],
        sha256=patch.weights_sha256,
        tensors=_tensors(objects, patch.weights_sha256),
    )


def told(reads: Iterable[Older]) -> list[dict[str, Any]]:
    """As the row of the patch that reads them keeps them, and as they travel to another process."""
    fields = ("id", "reference", "standing", "method", "options", "sha256")
    return [{field: getattr(older, field) for field in fields} for older in reads]


def named(objects: ObjectStore, kept: Iterable[Mapping[str, Any]]) -> list[Older]:
    """The inverse of `told`."""
    return [Older(**each, tensors=_tensors(objects, each["sha256"])) for each in kept]


@dataclass(frozen=True)
class WarmStart:
    """The patch of another task whose trunk a new one goes on from."""

    patch: Older
    similarity: float

    def to_json(self) -> dict[str, Any]:
        """As the row of the patch that went on from it keeps it, and as it travels to another process."""
        return {**told([self.patch])[0], "similarity": self.similarity}

    @classmethod
    def of(cls, objects: ObjectStore, kept: Mapping[str, Any]) -> "WarmStart":
        """The inverse of `to_json`."""
        patch = {key: value for key, value in kept.items() if key != "similarity"}
        return cls(named(objects, [patch])[0], kept["similarity"])


def _tensors(objects: ObjectStore, sha256: str) -> Any:
    """Reads them when first asked for. Raises CorruptObject then."""

    def read() -> Mapping[str, Tensor]:
        return unindexed(load_file(objects.path(sha256)))

    return cache(read)
