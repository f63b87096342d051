"""Next-item prediction at every position (NextItNet; PeterRec section 3.2, causal)."""

import torch
from torch import Tensor

from peter.config import PretrainConfig
from peter.data.histories import PAD, RESERVED, Histories
from peter.nn.backbone import Backbone
from peter.training.batches import Batch
from peter.training.objectives import ItemFeatures, newest
from peter.training.pretrain_model import TableModel


class NextItem:
    """p(x) = prod_i p(x_i | x_<i). Windows overlap by one: all events but a user's first are asked once."""

    causal = True
    compares = False

    def __init__(self, config: PretrainConfig) -> None:
        pass

    def windows(self, histories: Histories, length: int) -> Tensor:
        asked = _without_first(histories).windows(length).items  # [W, L]
        given = _without_last(histories).windows(length).items  # [W, L], one event earlier
        return torch.cat([given, asked[:, -1:]], dim=1)  # [W, L+1]

    def batch(self, windows: Tensor, items: int, generator: torch.Generator) -> Batch:
        inputs, targets = windows[:, :-1], windows[:, 1:]
        return Batch(inputs, targets.where((inputs != PAD) & (targets >= RESERVED), PAD))

    def last(self, histories: Histories, length: int) -> tuple[Tensor, Tensor]:
        return newest(_without_last(histories), length), newest(_without_first(histories), 1)[:, 0]

    def head(self, body: Backbone) -> None:
        return None

    def model(self, body: Backbone, counts: Tensor, features: ItemFeatures) -> TableModel:
        return TableModel(body, len(counts))


def _without_first(histories: Histories) -> Histories:
    return _drop(histories, histories.offsets[:-1])


def _without_last(histories: Histories) -> Histories:
    return _drop(histories, histories.offsets[1:] - 1)


def _drop(histories: Histories, events: Tensor) -> Histories:
    """Without one event of each user that has any."""
    lengths = histories.lengths
    keep = torch.ones(len(histories.items), dtype=torch.bool)
    keep[events[lengths > 0]] = False
    left = (lengths - 1).clamp(min=0)
    return Histories(histories.items[keep], torch.cat([left.new_zeros(1), left.cumsum(0)]))


plugin = NextItem
