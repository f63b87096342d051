"""How alike the answers of two models are, whatever they answer."""

import torch
from torch import Tensor

from peter.nn.init import generator

SHUFFLES = 99  # of users, by which what is alike by chance is known


def similarity(ours: Tensor, theirs: Tensor) -> tuple[float, float]:
    """Linear CKA (Kornblith et al., ICML 2019) of outputs [B, K] and [B, K'] for the same users; by chance.

    0 where no linear map tells anything of one from the other, 1 where they are the same up to a rotation and
    a scale: the numbers of outputs need not agree, nor their order or signs. Chance is the 95th of 100, the
    users of one side being shuffled.
    """
    a, b = (_centred(outputs) for outputs in (ours, theirs))
    scale = ((a.T @ a).norm() * (b.T @ b).norm()).clamp(min=torch.finfo(a.dtype).tiny)
    orders = [torch.randperm(len(b), generator=generator("similarity", number)) for number in range(SHUFFLES)]
    found, *shuffled = ((a.T @ b[order]).square().sum() / scale for order in [torch.arange(len(b)), *orders])
    return found.item(), torch.stack(shuffled).quantile(0.95).item()


def _centred(outputs: Tensor) -> Tensor:
    return (outputs - outputs.mean(dim=0)).double()
