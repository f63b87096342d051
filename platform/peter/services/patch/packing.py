"""Tensors as they are stored: without the numbers that nothing was learnt about, which are 0."""

from collections.abc import Mapping

import torch
from torch import Tensor

from peter.errors import CorruptObject
from peter.nn.bits import from_bytes
from peter.nn.owned import KEPT

COLUMNS = ":columns"  # behind the name of a matrix: which of its columns are stored


def packed(tensors: Mapping[str, Tensor], items: int) -> dict[str, Tensor]:
    """Every matrix [.., V] with more zero columns than others as those others and their places.

    Of a vector whose `KEPT` bits stand beside it, only those numbers.
    """
    found: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        if (columns := _learnt(tensor, items)) is not None:
            found[name] = tensor[..., columns].contiguous()
            found[name + COLUMNS] = columns.to(torch.int32)
        elif name + KEPT in tensors:
            found[name] = tensor[from_bytes(tensors[name + KEPT], len(tensor))]
        else:
            found[name] = tensor.contiguous()
    return found


def unpacked(stored: Mapping[str, Tensor], like: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The inverse of `packed`, with the shapes of `like`. Raises CorruptObject for a place that is none."""
    places = {name + COLUMNS for name in stored}
    found = {name: tensor for name, tensor in stored.items() if name not in places}
    for name in found.keys() & like.keys():
        if name + COLUMNS in stored:
            found[name] = _with_columns(name, found[name], stored[name + COLUMNS].long(), like[name])
        elif name + KEPT in stored:
            found[name] = _with_zeros(name, found[name], stored[name + KEPT], like[name])
    return found


def unindexed(stored: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The stored tensors without those that have columns; of a vector with `KEPT` bits only those numbers."""
    return {
        name: tensor
        for name, tensor in stored.items()
        if not name.endswith(COLUMNS) and name + COLUMNS not in stored
    }


def learnt(tensors: Mapping[str, Tensor], items: int) -> int:
    """How many numbers `packed` stores of them, places not counted."""
    return sum(
        tensor.numel()
        for name, tensor in packed(tensors, items).items()
        if not name.endswith((COLUMNS, KEPT))
    )


def _learnt(tensor: Tensor, items: int) -> Tensor | None:
    """The columns that are not 0, where they are the fewer."""
    if tensor.dim() < 2 or tensor.shape[-1] != items:
        return None
    kept = tensor.flatten(end_dim=-2).any(0).nonzero().squeeze(1)
    return kept if 2 * len(kept) < items else None


def _with_columns(name: str, found: Tensor, columns: Tensor, like: Tensor) -> Tensor:
    whole = torch.zeros_like(like)
    fits = columns.numel() == found.shape[-1] and found.shape[:-1] == whole.shape[:-1]
    if not fits or not bool(((columns >= 0) & (columns < whole.shape[-1])).all()):
        raise CorruptObject(f"The stored columns of {name} do not fit its items; run `peter verify`.")
    whole[..., columns] = found
    return whole


def _with_zeros(name: str, found: Tensor, bits: Tensor, like: Tensor) -> Tensor:
    whole = torch.zeros_like(like)
    fits = bits.dtype == torch.uint8 and len(bits) == -(-len(whole) // 8)
    kept = from_bytes(bits, len(whole)) if fits else None
    if kept is None or int(kept.sum()) != len(found):
        raise CorruptObject(f"The stored places of {name} do not fit its numbers; run `peter verify`.")
    whole[kept] = found
    return whole
