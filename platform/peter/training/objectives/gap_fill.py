"""Gap filling: hidden events are asked for, both sides given (GRec, WWW 2020; PeterRec, non-causal)."""

import torch
from torch import Tensor

from peter.config import PretrainConfig
from peter.data.augmentations import some
from peter.data.histories import MASK, PAD, RESERVED, Histories
from peter.errors import InputError
from peter.nn.backbone import Backbone
from peter.training.batches import Batch
from peter.training.objectives import ItemFeatures, newest
from peter.training.pretrain_model import TableModel

MOST = 30  # gaps in a window
HIDDEN, SWAPPED = 0.8, 0.9  # of the gaps, as BERT: 80 % MASK, 10 % another item, 10 % as it was


class GapFill:
    """p(hidden events | the others), min(30, max(1, round(rate * n))) gaps among the n items of a window."""

    causal = False
    compares = False

    def __init__(self, config: PretrainConfig) -> None:
        if not 0 < config.mask_rate < 1:
            raise InputError(f"mask_rate={config.mask_rate} is not between 0 and 1; give e.g. mask_rate=0.3.")
        self.rate = config.mask_rate

    def windows(self, histories: Histories, length: int) -> Tensor:
        return histories.windows(length).items  # [W, L]

    def batch(self, windows: Tensor, items: int, generator: torch.Generator) -> Batch:
        gaps = self._gaps(windows, generator)  # [B, L]
        change = torch.rand(windows.shape, generator=generator)
        others = torch.randint(RESERVED, items, windows.shape, generator=generator)
        corrupted = windows.where(change >= SWAPPED, others).where(change >= HIDDEN, MASK)
        return Batch(corrupted.where(gaps, windows), windows.where(gaps, PAD))

    def last(self, histories: Histories, length: int) -> tuple[Tensor, Tensor]:
        windows = newest(histories, length)
        windows = windows[windows[:, -2:].all(dim=1)]  # users with one event only give nothing to go by
        answers = windows[:, -1].clone()
        windows[:, -1] = MASK
        return windows, answers

    def head(self, body: Backbone) -> None:
        return None

    def model(self, body: Backbone, counts: Tensor, features: ItemFeatures) -> TableModel:
        return TableModel(body, len(counts))

    def _gaps(self, windows: Tensor, generator: torch.Generator) -> Tensor:
        """[B, L] bool: where the gaps are; never padding or another reserved row."""
        real = windows >= RESERVED
        count = (self.rate * real.sum(1)).round().clamp(1, MOST)  # [B]
        return some(real, count, generator)


plugin = GapFill
