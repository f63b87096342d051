"""What a backbone must offer; architectures are found in `peter.nn.backbones` and in other packages."""

from collections.abc import Iterator, Mapping
from typing import Any, Protocol, Self, cast

import torch
from torch import Tensor, nn

from peter import plugins
from peter.config import BackboneConfig
from peter.nn.embedding import ItemEmbedding
from peter.nn.graft import Graft

GROUP = "peter.backbones"


class Backbone(Protocol):
    """A sequence model, also an nn.Module. Letters: B windows, L time, C channels, V items."""

    channels: int  # C
    sites: int  # where a patch may be grafted: two a block
    levels: int  # activations it gives: the embedding, then every block
    max_length: int  # L at most
    causal: bool  # whether position t sees only events up to t
    item_embedding: ItemEmbedding  # weight [V, C]

    def __call__(
        self, items: Tensor, graft: Graft | None = None, dtype: torch.dtype | None = None
    ) -> list[Tensor]:
        """`levels` activations [L, B, C] of items [B, L], left-padded with PAD; padded rows are exactly 0.

        `dtype` is that of the activations, the weights' own when None.
        """

    @property
    def device(self) -> torch.device:
        """Where its weights are."""

    @property
    def item_table(self) -> Tensor:
        """[V, C] the item embedding's weight."""

    def site_layer(self, site: int) -> nn.Module:
        """The sub-layer of a site: a convolution, an attention ..."""

    def site_norm(self, site: int) -> nn.LayerNorm:
        """The LayerNorm of a site."""

    def block_tensors(self, blocks: range) -> list[str]:
        """Names in the state dict of all tensors of these blocks."""

    def fresh(self, seed: int) -> Self:
        """The same architecture with random values of its own: the control without pre-training."""

    def parameters(self) -> Iterator[nn.Parameter]:
        """As nn.Module."""

    def state_dict(self) -> dict[str, Any]:
        """As nn.Module."""

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> Any:
        """As nn.Module."""

    def eval(self) -> Self:
        """As nn.Module."""

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """As nn.Module; a frozen body is one with requires_grad_(False)."""


def build_backbone(config: BackboneConfig, items: int, seed: int | None) -> Backbone:
    """A fresh body for an item table of `items` rows (V), its initial values a function of `seed` alone.

    Without a seed it has no values yet: they come from a file.

    Raises:
        UnknownName: no such architecture.
        InputError: a number that the architecture cannot take.
    """
    architecture = plugins.load(GROUP, config.architecture, "backbone architecture")
    return cast(Backbone, architecture(config, items, seed))
