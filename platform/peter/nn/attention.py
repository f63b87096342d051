"""Self-attention over time-major activations."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from peter.nn.blocks import linear
from peter.nn.embedding import PAD


class SelfAttention(nn.Module):
    """Scaled dot products in `heads` heads of C / heads channels (Vaswani et al., 2017, section 3.2)."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.project = nn.Linear(channels, 3 * channels)  # to queries, keys and values
        self.mix = nn.Linear(channels, channels)
        self.heads = heads

    def forward(self, x: Tensor, seen: Tensor) -> Tensor:
        """[L, B, C] -> [L, B, C]; `seen` as of `visible`."""
        length, batch, channels = x.shape
        parts = linear(x, self.project).view(length, batch, 3, self.heads, channels // self.heads)
        query, key, value = parts.permute(2, 1, 3, 0, 4)  # [B, heads, L, C/heads] each
        found = F.scaled_dot_product_attention(query, key, value, attn_mask=seen)
        return linear(found.permute(2, 0, 1, 3).reshape(x.shape), self.mix)


def visible(items: Tensor, causal: bool) -> Tensor:
    """Which positions each position of items [L, B] sees: bool [B, 1, L, L], the seen ones last.

    Padding is seen by nobody but itself, lest a row of the softmax be empty.
    """
    itself = torch.eye(len(items), dtype=torch.bool, device=items.device)  # [L, L]
    every = torch.ones_like(itself)
    real = (items != PAD).T[:, None, None]  # [B, 1, 1, L]
    return real & (every.tril() if causal else every) | itself
