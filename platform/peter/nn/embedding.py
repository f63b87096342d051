"""The item table of a body, and what it reads for items that came after it."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

PAD = 0  # the row of the item table that stands for "no event"
UNK = 3  # the row for an item of which nothing is known, the last reserved one


class ItemEmbedding(nn.Embedding):
    """Rows [V, C] that are trained, and behind their end `later` rows [N, C] that are only read.

    Those are no part of the state dict: whoever opens a body makes them anew of what is known of the items.
    """

    later: Tensor

    def __init__(self, items: int, channels: int) -> None:
        """Without values: they come from a seed or a file."""
        super().__init__(items, channels, padding_idx=PAD, _weight=torch.empty(items, channels))
        self.register_buffer("later", torch.empty(0, channels), persistent=False)

    def forward(self, items: Tensor) -> Tensor:
        if not len(self.later):
            return super().forward(items)
        new = items >= self.num_embeddings
        own = super().forward(items.where(~new, UNK))
        later = F.embedding((items - self.num_embeddings).clamp(min=0), self.later)
        found = torch.where(new.unsqueeze(-1), later, own)
        return found.contiguous()  # as without later rows: the bits of what follows depend on the layout
