"""Model patches: the small residual bottlenecks of PeterRec, and the serial way to graft two a block."""

import copy
from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor, nn

from peter.errors import InputError
from peter.nn.backbone import Backbone
from peter.nn.init import truncated_normal_

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"gelu": F.gelu, "relu": F.relu}


class ModelPatch(nn.Module):
    """MP(h) = h + W_up phi(W_down h + b_down) + b_up (PeterRec, section 3.3 and figure 3f).

    W_up starts at zero, so that a fresh patch is the identity, bit for bit (the paper starts near it).
    """

    def __init__(
        self, channels: int, bottleneck: int, seed: int, name: str, activation: str = "gelu"
    ) -> None:
        super().__init__()
        self.down = nn.Linear(channels, bottleneck)  # C -> D
        self.up = nn.Linear(bottleneck, channels)  # D -> C
        self.activation = _activation(activation)
        truncated_normal_(self.down.weight, seed, name)
        for zero in (self.down.bias, self.up.weight, self.up.bias):
            nn.init.zeros_(zero)

    def delta(self, h: Tensor) -> Tensor:
        """What the patch adds to h [..., C]."""
        d = self.activation(F.linear(h, self.down.weight.to(h.dtype), self.down.bias.to(h.dtype)))  # [..., D]
        return F.linear(d, self.up.weight.to(h.dtype), self.up.bias.to(h.dtype))  # [..., C]

    def forward(self, h: Tensor) -> Tensor:
        return h + self.delta(h)


class SerialGraft(nn.Module):
    """Two patches in series in each chosen block, between convolution and LayerNorm (figure 3b); a `Graft`.

    z = ReLU(LN1(MP1(conv_r(x)))); y = x + ReLU(LN2(MP2(conv_2r(z)))). With `second_norm`, LN2 of a
    chosen block is trained too, as the patch's own copy, which starts from the frozen values.
    """

    def __init__(
        self,
        body: Backbone,
        bottleneck: int,
        seed: int,
        blocks: range | None = None,
        activation: str = "gelu",
        second_norm: bool = True,
    ) -> None:
        super().__init__()
        chosen = range(body.sites // 2) if blocks is None else blocks
        _check(chosen, body)
        self.patches = nn.ModuleDict()
        self.norms = nn.ModuleDict()
        for site in (site for block in chosen for site in (2 * block, 2 * block + 1)):
            self.patches[str(site)] = ModelPatch(
                body.channels, bottleneck, seed, f"patches.{site}.down", activation
            )
        for site in (2 * block + 1 for block in chosen if second_norm):
            self.norms[str(site)] = copy.deepcopy(body.site_norm(site)).requires_grad_(True)

    def lookup(self, items: Tensor, x: Tensor) -> Tensor:
        return x

    def inside(self, site: int, x: Tensor, y: Tensor) -> Tensor:
        if str(site) not in self.patches:
            return y
        patched: Tensor = self.patches[str(site)](y)
        return patched

    def outside(self, site: int, x: Tensor, y: Tensor) -> Tensor:
        return y

    def norm(self, site: int, frozen: nn.LayerNorm) -> nn.LayerNorm:
        if str(site) not in self.norms:
            return frozen
        own = self.norms[str(site)]
        assert isinstance(own, nn.LayerNorm)
        return own


def _activation(name: str) -> Callable[[Tensor], Tensor]:
    if name not in ACTIVATIONS:
        raise InputError(
            f"There is no activation {name!r} for a patch; give one of {', '.join(ACTIVATIONS)}."
        )
    return ACTIVATIONS[name]


def _check(blocks: range, body: Backbone) -> None:
    if not blocks or blocks[0] < 0 or blocks[-1] >= body.sites // 2:
        raise InputError(
            f"Blocks {blocks.start} to {blocks.stop - 1} cannot be patched; "
            f"the backbone has blocks 0 to {body.sites // 2 - 1}."
        )
