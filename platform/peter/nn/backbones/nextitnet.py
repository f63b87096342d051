"""NextItNet, a stack of dilated convolutions over items; when not causal, it is the encoder of GRec."""

from typing import Self

import torch
from torch import Tensor, nn

from peter.config import BackboneConfig
from peter.errors import InputError
from peter.nn.blocks import PreActivationBlock, ResidualBlock, mask
from peter.nn.embedding import PAD, ItemEmbedding
from peter.nn.graft import Graft, Ungrafted
from peter.nn.init import initialise


class NextItNet(nn.Module):
    """Causal (Yuan et al., WSDM 2019) or gap-filling (GRec, Yuan et al., WWW 2020) body; a `Backbone`.

    V*C + blocks*(6*C^2 + 6*C) parameters with kernel 3; with dilations 1 and 4 over 8 blocks, the causal body
    sees 121 events.
    """

    def __init__(
        self,
        config: BackboneConfig,
        items: int,
        seed: int | None,
        block: type[ResidualBlock | PreActivationBlock] = ResidualBlock,
    ) -> None:
        super().__init__()
        _check(config)
        self.config, self.block = config, block
        self.channels, self.max_length, self.causal = config.channels, config.max_length, config.causal
        self.sites, self.levels = 2 * config.blocks, config.blocks + 1
        self.item_embedding = ItemEmbedding(items, config.channels)
        self.blocks = nn.ModuleList(
            block(config.channels, config.kernel, config.dilations[b % len(config.dilations)], config.causal)
            for b in range(config.blocks)
        )
        initialise(self, seed)
        with torch.no_grad():
            self.item_embedding.weight[PAD] = 0

    def forward(
        self, items: Tensor, graft: Graft | None = None, dtype: torch.dtype | None = None
    ) -> list[Tensor]:
        """`levels` activations [L, B, C] of items [B, L], left-padded with PAD."""
        graft = graft or Ungrafted()
        items = items.T  # [L, B]
        x = graft.lookup(items, self.item_embedding(items))
        x = x.to(dtype or self.item_embedding.weight.dtype)  # [L, B, C]
        real = None if bool(items.all()) else (items != PAD).unsqueeze(-1).to(x.dtype)  # [L, B, 1]
        levels = [mask(x, real)]
        for at, block in enumerate(self.blocks):
            levels.append(block(levels[-1], real, graft, 2 * at))
        return levels

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.item_embedding.weight.device

    @property
    def item_table(self) -> Tensor:
        """[V, C]."""
        return self.item_embedding.weight

    def site_layer(self, site: int) -> nn.Module:
        """The convolution of a site."""
        return self.get_submodule(f"blocks.{site // 2}.conv{site % 2 + 1}")

    def block_tensors(self, blocks: range) -> list[str]:
        """Names of the tensors of these blocks."""
        prefixes = tuple(f"blocks.{block}." for block in blocks)
        return [name for name in self.state_dict() if name.startswith(prefixes)]

    def fresh(self, seed: int) -> Self:
        """The same architecture with random values of its own, frozen as this one is."""
        other = type(self)(self.config, self.item_embedding.num_embeddings, seed, self.block)
        return other.to(self.device).requires_grad_(self.item_embedding.weight.requires_grad)

    def site_norm(self, site: int) -> nn.LayerNorm:
        """The LayerNorm behind the convolution of a site."""
        norm = self.get_submodule(f"blocks.{site // 2}.norm{site % 2 + 1}")
        assert isinstance(norm, nn.LayerNorm)
        return norm


def _check(config: BackboneConfig) -> None:
    if not config.dilations or min(config.dilations) < 1:
        raise InputError(
            f"dilations={config.dilations} cannot be used; give positive numbers, e.g. dilations=1,4."
        )
    if not config.causal and config.kernel % 2 == 0:
        raise InputError(
            f"A body that is not causal needs an odd kernel, not {config.kernel}; give kernel=3."
        )


plugin = NextItNet
