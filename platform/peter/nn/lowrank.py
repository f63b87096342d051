"""Low-rank deltas on dilated convolutions."""

from torch import Tensor, nn

from peter.errors import InputError
from peter.nn.backbone import Backbone
from peter.nn.blocks import linear
from peter.nn.conv import DilatedConv
from peter.nn.init import truncated_normal_
from peter.nn.patch import require_blocks
from peter.nn.view import Grafted


class LowRankDelta(nn.Module):
    """(alpha / R) B (A * x), A a convolution C -> R with the taps of `conv` (LoRA, Hu et al., section 4.1).

    B starts at zero, so that a fresh delta is 0.
    """

    def __init__(self, conv: DilatedConv, rank: int, alpha: float, seed: int, name: str) -> None:
        super().__init__()
        taps, channels, outputs = conv.weight.shape
        self.down = DilatedConv(channels, taps, conv.dilation, conv.causal, rank, bias=False)  # C -> R
        self.up = nn.Linear(rank, outputs, bias=False)  # R -> C
        self.scale = alpha / rank
        truncated_normal_(self.down.weight, seed, name)
        nn.init.zeros_(self.up.weight)

    def narrow(self, x: Tensor) -> Tensor:
        """(alpha / R) A * x."""
        down: Tensor = self.down(x)  # [L, B, R]
        return self.scale * down

    def forward(self, x: Tensor) -> Tensor:
        delta = linear(self.down(x), self.up)  # [L, B, C]
        return self.scale * delta


class LowRankGraft(nn.Module):
    """A delta at both sites of the chosen blocks; a `Graft` and a `Trunk`.

    Raises:
        InputError: a rank that is none, or a body whose sites are no dilated convolutions.
    """

    def __init__(
        self, body: Backbone, rank: int, alpha: float, seed: int, blocks: range | None = None
    ) -> None:
        super().__init__()
        if not 1 <= rank <= body.channels:
            raise InputError(
                f"rank={rank} cannot be used; give a number from 1 to the {body.channels} channels."
            )
        self.deltas = nn.ModuleDict()
        for site in (2 * block + at for block in require_blocks(blocks, body) for at in (0, 1)):
            conv = _convolution(body, site)
            self.deltas[str(site)] = LowRankDelta(conv, rank, alpha, seed, f"deltas.{site}.down")

    def view(self, body: Backbone, token: Tensor | None = None) -> Grafted:
        return Grafted(body, self, token=token)

    def lookup(self, items: Tensor, x: Tensor) -> Tensor:
        return x

    def inside(self, site: int, x: Tensor, y: Tensor) -> Tensor:
        if str(site) not in self.deltas:
            return y
        changed: Tensor = y + self.deltas[str(site)](x)
        return changed

    def outside(self, site: int, x: Tensor, y: Tensor) -> Tensor:
        return y

    def norm(self, site: int, frozen: nn.LayerNorm) -> nn.LayerNorm:
        return frozen


def _convolution(body: Backbone, site: int) -> DilatedConv:
    layer = body.site_layer(site)
    if not isinstance(layer, DilatedConv):
        raise InputError(
            f"Low-rank deltas need dilated convolutions, not {type(layer).__name__}; "
            "give --method peter, or a nextitnet backbone."
        )
    return layer
