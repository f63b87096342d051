"""Truth values, eight to a byte."""

import torch
from torch import Tensor


def to_bytes(mask: Tensor) -> Tensor:
    """[ceil(N / 8)] uint8 of a mask [N], the first of eight in the highest bit."""
    whole = torch.nn.functional.pad(mask.to(torch.uint8), (0, -len(mask) % 8)).view(-1, 8)
    return (whole * _WEIGHTS.to(mask.device)).sum(1, dtype=torch.uint8)


def from_bytes(packed: Tensor, count: int) -> Tensor:
    """The mask [count] again."""
    return (packed.unsqueeze(1) & _WEIGHTS.to(packed.device)).bool().flatten()[:count]


_WEIGHTS = torch.tensor([128, 64, 32, 16, 8, 4, 2, 1], dtype=torch.uint8)
