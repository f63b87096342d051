"""A body with the output table it is pre-trained against."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from peter.data.histories import PAD, RESERVED
from peter.nn.backbone import Backbone
from peter.nn.init import truncated_normal_
from peter.nn.losses import full_softmax, sampled_softmax
from peter.training.objectives import Batch


@dataclass(frozen=True)
class Negatives:
    """What a sampled softmax compares with; without it the softmax is full."""

    items: Tensor  # [S] int64
    log_probability: Tensor  # [V], of drawing each item


class PretrainModel(nn.Module):
    """score(x, v) = h . W_out[v] + b[v], with h a position of the last level. Reserved rows have no score."""

    def __init__(self, body: Backbone, items: int, seed: int) -> None:
        super().__init__()
        self.body, self.items = body, items
        self.table = nn.Parameter(torch.empty(items - RESERVED, body.channels))  # [V-4, C]
        self.bias = nn.Parameter(torch.zeros(items - RESERVED))
        truncated_normal_(self.table, seed, "table")

    def loss(
        self, batch: Batch, negatives: Negatives | None = None, dtype: torch.dtype = torch.float32
    ) -> Tensor:
        """Mean over the asked places, in float32; `dtype` is that of the body's activations."""
        device = self.table.device
        targets = batch.targets.T.to(device)  # [L, B]
        asked = targets != PAD
        h = self.body(batch.inputs.to(device), dtype=dtype)[-1][asked].to(self.table.dtype)  # [N, C]
        answers = targets[asked] - RESERVED  # [N]
        if negatives is None:
            return full_softmax(h, self.table, self.bias, answers)
        rows, log_probability = (negatives.items - RESERVED).to(device), negatives.log_probability[RESERVED:]
        return sampled_softmax(h, self.table, self.bias, answers, rows, log_probability.to(device))
