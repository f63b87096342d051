"""Trained copies of whole blocks beside the frozen ones."""

import copy

import torch.nn.functional as F
from torch import Tensor, nn

from peter.errors import InputError
from peter.nn.backbone import Backbone
from peter.nn.blocks import ResidualBlock, layer_norm, mask
from peter.nn.conv import DilatedConv
from peter.nn.embedding import PAD


class BlockCopies(nn.Module):
    """A copy of every block that reads what the frozen block reads, and takes its place; a `Graft`.

    What a copy has half-way waits here for its second half: the frozen half goes on beside it, so that
    a mix of both is one of whole blocks.

    Raises:
        InputError: a body of other blocks, whose hooks do not show what went into them.
    """

    between: Tensor
    real: Tensor

    def __init__(self, body: Backbone) -> None:
        super().__init__()
        assert isinstance(body, nn.Module)
        blocks = [module for module in body.modules() if isinstance(module, ResidualBlock)]
        if 2 * len(blocks) != body.sites:
            raise InputError("form=copies needs a nextitnet backbone; give form=patches.")
        self.copies = nn.ModuleList(copy.deepcopy(block).requires_grad_(True) for block in blocks)

    def lookup(self, items: Tensor, x: Tensor) -> Tensor:
        self.real = (items != PAD).unsqueeze(-1)  # [L, B, 1]
        return x

    def inside(self, site: int, x: Tensor, y: Tensor) -> Tensor:
        return y

    def outside(self, site: int, x: Tensor, y: Tensor) -> Tensor:
        block = self.copies[site // 2]
        assert isinstance(block, ResidualBlock)
        if site % 2:
            return _half(block.conv2, block.norm2, self.between)
        self.between = mask(_half(block.conv1, block.norm1, x), self.real.to(y.dtype))
        return y

    def norm(self, site: int, frozen: nn.LayerNorm) -> nn.LayerNorm:
        return frozen


def _half(conv: DilatedConv, norm: nn.LayerNorm, x: Tensor) -> Tensor:
    return F.relu(layer_norm(conv(x), norm))
