"""Windows of the toy world, one of them padded."""

import torch
from torch import Tensor

from peter.testing import ITEMS


def windows() -> Tensor:
    """Items [3, 9]; the first window begins with four rows of padding."""
    drawn = torch.randint(4, ITEMS, (3, 9), generator=torch.Generator().manual_seed(0))
    drawn[0, :4] = 0
    return drawn
