"""SASRec, a Transformer over items; when not causal, it looks both ways as BERT4Rec does."""

from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from peter.config import BackboneConfig
from peter.errors import InputError
from peter.nn.attention import SelfAttention, visible
from peter.nn.blocks import EPS, layer_norm, linear, mask
from peter.nn.embedding import PAD, ItemEmbedding
from peter.nn.graft import Graft, Ungrafted
from peter.nn.init import initialise


class FeedForward(nn.Module):
    """W2 ReLU(W1 x + b1) + b2 at every position, C wide throughout (SASRec, section III-B)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.up, self.down = nn.Linear(channels, channels), nn.Linear(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        return linear(F.relu(linear(x, self.up)), self.down)  # [L, B, C]


class AttentionBlock(nn.Module):
    """z = x + SA(LN1(x)); y = z + FFN(LN2(z)) (SASRec, section III-B).

    Both sub-layers leave padded rows at exactly 0, so that a padded and an unpadded window agree.
    """

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(channels, eps=EPS), nn.LayerNorm(channels, eps=EPS)
        self.attention = SelfAttention(channels, heads)
        self.feed_forward = FeedForward(channels)

    def forward(self, x: Tensor, real: Tensor, seen: Tensor, graft: Graft, site: int) -> Tensor:
        """[L, B, C] -> [L, B, C]; `real` as in `mask`; `site` is the block's first site."""
        given = layer_norm(x, graft.norm(site, self.norm1))
        z = x + _hooked(site, given, self.attention(given, seen), real, graft)
        given = layer_norm(z, graft.norm(site + 1, self.norm2))
        return z + _hooked(site + 1, given, self.feed_forward(given), real, graft)


def _hooked(site: int, x: Tensor, y: Tensor, real: Tensor, graft: Graft) -> Tensor:
    return mask(graft.outside(site, x, graft.inside(site, x, y)), real)


class SASRec(nn.Module):
    """Self-attentive body (Kang and McAuley, ICDM 2018) with the heads that CLUE gives it; a `Backbone`.

    Positions are counted from the newest event, as the paper's are (it pads on the left and numbers columns):
    what is read last always stands at the same place. The last level is behind the closing LayerNorm.
    Not the paper's: its authors let keys and values see what is not normalised, and scale items by sqrt(C);
    heads are mixed by a matrix (Vaswani et al.). V*C + L*C + blocks*(6*C^2 + 10*C) + 2*C parameters.
    """

    def __init__(self, config: BackboneConfig, items: int, seed: int | None) -> None:
        super().__init__()
        if config.channels % config.heads:
            raise InputError(
                f"heads={config.heads} cannot share {config.channels} channels evenly; "
                f"give a divisor of {config.channels}."
            )
        self.config = config
        self.channels, self.max_length, self.causal = config.channels, config.max_length, config.causal
        self.sites, self.levels = 2 * config.blocks, config.blocks + 1
        self.item_embedding = ItemEmbedding(items, config.channels)
        self.positions = nn.Parameter(torch.empty(config.max_length, config.channels))  # the newest first
        self.blocks = nn.ModuleList(
            AttentionBlock(config.channels, config.heads) for _ in range(config.blocks)
        )
        self.norm = nn.LayerNorm(config.channels, eps=EPS)
        initialise(self, seed)
        with torch.no_grad():
            self.item_embedding.weight[PAD] = 0
            for layer in self.modules():
                if isinstance(layer, nn.Linear):
                    nn.init.zeros_(layer.bias)

    def forward(
        self, items: Tensor, graft: Graft | None = None, dtype: torch.dtype | None = None
    ) -> list[Tensor]:
        """`levels` activations [L, B, C] of items [B, L], left-padded with PAD."""
        graft = graft or Ungrafted()
        items = items.T  # [L, B]
        x = graft.lookup(items, self.item_embedding(items)) + self.positions[: len(items)].flip(0)[:, None]
        x = x.to(dtype or self.item_embedding.weight.dtype)  # [L, B, C]
        real, seen = (items != PAD).unsqueeze(-1).to(x.dtype), visible(items, self.causal)
        levels = [mask(x, real)]
        for at, block in enumerate(self.blocks):
            levels.append(block(levels[-1], real, seen, graft, 2 * at))
        return [*levels[:-1], mask(layer_norm(levels[-1], self.norm), real)]

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.item_embedding.weight.device

    @property
    def item_table(self) -> Tensor:
        """[V, C]."""
        return self.item_embedding.weight

    def site_layer(self, site: int) -> nn.Module:
        """The attention of an even site, the feed-forward of an odd one."""
        return self.get_submodule(f"blocks.{site // 2}.{('attention', 'feed_forward')[site % 2]}")

    def site_norm(self, site: int) -> nn.LayerNorm:
        """The LayerNorm before the sub-layer of a site."""
        norm = self.get_submodule(f"blocks.{site // 2}.norm{site % 2 + 1}")
        assert isinstance(norm, nn.LayerNorm)
        return norm

    def block_tensors(self, blocks: range) -> list[str]:
        """Names of the tensors of these blocks; the closing LayerNorm goes with the last one."""
        prefixes = [f"blocks.{block}." for block in blocks]
        prefixes += ["norm."] if self.levels - 2 in blocks else []
        return [name for name in self.state_dict() if name.startswith(tuple(prefixes))]

    def fresh(self, seed: int) -> Self:
        """The same architecture with random values of its own, frozen as this one is."""
        other = type(self)(self.config, self.item_embedding.num_embeddings, seed)
        return other.to(self.device).requires_grad_(self.item_embedding.weight.requires_grad)


plugin = SASRec
