"""Tensors with a column an item, stored without the columns of items that nothing was learnt about."""

from collections.abc import Mapping

import torch
from torch import Tensor

from peter.errors import CorruptObject

COLUMNS = ":columns"  # behind the name of a tensor: which columns of it are stored, the rest being 0


def packed(tensors: Mapping[str, Tensor], items: int) -> dict[str, Tensor]:
    """Every matrix [.., V] with more zero columns than others as those others and their places."""
    found: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        kept = _learnt(tensor, items)
        if kept is None:
            found[name] = tensor.contiguous()
        else:
            found[name] = tensor[..., kept].contiguous()
            found[name + COLUMNS] = kept.to(torch.int32)
    return found


def unpacked(stored: Mapping[str, Tensor], like: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The inverse of `packed`, with the shapes of `like`. Raises CorruptObject for a place that is none."""
    places = {name + COLUMNS for name in stored}
    found = {name: tensor for name, tensor in stored.items() if name not in places}
    for name in found.keys() & like.keys():
        if name + COLUMNS in stored:
            whole, columns = torch.zeros_like(like[name]), stored[name + COLUMNS].long()
            fits = columns.numel() == found[name].shape[-1] and found[name].shape[:-1] == whole.shape[:-1]
            if not fits or not bool(((columns >= 0) & (columns < whole.shape[-1])).all()):
                raise CorruptObject(f"The stored columns of {name} do not fit its items; run `peter verify`.")
            whole[..., columns] = found[name]
            found[name] = whole
    return found


def whole(stored: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Those of the stored tensors that are stored whole."""
    return {
        name: tensor
        for name, tensor in stored.items()
        if not name.endswith(COLUMNS) and name + COLUMNS not in stored
    }


def learnt(tensors: Mapping[str, Tensor], items: int) -> int:
    """How many numbers `packed` stores of them, places not counted."""
    return sum(
        tensor.numel() for name, tensor in packed(tensors, items).items() if not name.endswith(COLUMNS)
    )


def _learnt(tensor: Tensor, items: int) -> Tensor | None:
    """The columns that are not 0, where they are the fewer."""
    if tensor.dim() < 2 or tensor.shape[-1] != items:
        return None
    kept = tensor.flatten(end_dim=-2).any(0).nonzero().squeeze(1)
    return kept if 2 * len(kept) < items else None
