"""How much of a lineage's weights is still free, and whose the rest is."""

from collections.abc import Sequence
from math import prod
from pathlib import Path
from typing import Any

from safetensors import safe_open

from peter.nn.owned import FREED, KEPT
from peter.registry import models
from peter.registry.objects import ObjectStore
from peter.services.backbone.frozen import BODY


def capacity(objects: ObjectStore, root: models.Backbone, line: Sequence[models.Patch]) -> dict[str, Any]:
    """Only headers of files are read.

    Args:
        line: the patches that append to it, oldest first.

    Returns:
        `{weights, free, owners: [{owner, weights, share}]}`; shares are of all weights that can be owned.

    Raises:
        CorruptObject: an object is damaged.
    """
    shapes = _shapes(objects.path(root.weights_sha256))
    freed = {
        name.removeprefix(FREED): prod(shape) for name, shape in shapes.items() if name.startswith(FREED)
    }
    every = sum(prod(shapes[BODY + name]) for name in freed)
    owned = {root.reference: every - sum(freed.values())}
    owned |= {patch.reference: _owned(objects.path(patch.weights_sha256)) for patch in line}
    return {
        "weights": every,
        "free": (every - sum(owned.values())) / every,
        "owners": [
            {"owner": owner, "weights": count, "share": count / every} for owner, count in owned.items()
        ],
    }


def _owned(path: Path) -> int:
    shapes = _shapes(path)
    return sum(prod(shape) for name, shape in shapes.items() if name + KEPT in shapes)


def _shapes(path: Path) -> dict[str, list[int]]:
    with safe_open(path, "pt") as file:
        return {name: file.get_slice(name).get_shape() for name in file.keys()}  # noqa: SIM118
