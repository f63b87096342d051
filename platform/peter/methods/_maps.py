"""Linear maps put together; a map of low rank keeps its factors, so that the sum of two has both ranks."""

from collections.abc import Sequence

import torch
from torch import Tensor

from peter.task import LinearMap


def behind(axes: Tensor, found: LinearMap) -> LinearMap:
    """The map of features [B, F] that gives what `found` gives for features @ axes.T, axes [D, F]."""
    if found.down is None:
        return LinearMap(found.up @ axes, found.bias)
    return LinearMap(found.up, found.bias, found.down @ axes)


def added(maps: Sequence[LinearMap], shares: Sequence[float]) -> LinearMap:
    """One map that gives the weighted sum of what maps of the same features give."""
    ups, downs, bias = _weighted(maps, shares)
    if not downs:
        return LinearMap(torch.stack(ups).sum(0), bias)
    return LinearMap(torch.cat(ups, dim=1), bias, torch.cat(downs))


def side_by_side(maps: Sequence[LinearMap], shares: Sequence[float]) -> LinearMap:
    """One map of features side by side that gives the weighted sum of what each map gives for its own."""
    ups, downs, bias = _weighted(maps, shares)
    return LinearMap(torch.cat(ups, dim=1), bias, torch.block_diag(*downs) if downs else None)


def _weighted(
    maps: Sequence[LinearMap], shares: Sequence[float]
) -> tuple[list[Tensor], list[Tensor], Tensor]:
    """What leads to the outputs, what leads to it if ranks are low, and the sum of the biases."""
    biases = [share * found.bias for share, found in zip(shares, maps, strict=True)]
    ups = [share * found.up for share, found in zip(shares, maps, strict=True)]
    return ups, [found.down for found in maps if found.down is not None], torch.stack(biases).sum(0)
