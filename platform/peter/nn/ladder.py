"""A side network that only reads the frozen levels of a body."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from peter.nn.backbone import Backbone
from peter.nn.embedding import PAD
from peter.nn.init import truncated_normal_
from peter.nn.view import View


class Ladder(nn.Module):
    """Its own levels s of D channels beside the body's levels h (after Sung et al., NeurIPS 2022); a `Trunk`.

    s_0 = W_0 h_0; s_l = s_{l-1} + GELU(U_l LN(m_l)) with m_l = g_l s_{l-1} + (1 - g_l) W_l h_l and a learnt
    gate g_l in (0, 1). The rungs work on single positions: the body has mixed time already. Nothing is
    descended through the body, so one pass of it can serve every task.
    """

    def __init__(self, body: Backbone, width: int, seed: int) -> None:
        super().__init__()
        rungs = body.levels - 1
        self.width = width  # D
        self.down = nn.ModuleList(nn.Linear(body.channels, width) for _ in range(body.levels))
        self.gate = nn.Parameter(torch.zeros(rungs))  # before the sigmoid
        self.norm = nn.ModuleList(nn.LayerNorm(width) for _ in range(rungs))
        self.step = nn.ModuleList(nn.Linear(width, width) for _ in range(rungs))
        for name, layer in self.named_modules():
            if isinstance(layer, nn.Linear):
                truncated_normal_(layer.weight, seed, name, std=layer.in_features**-0.5)
                nn.init.zeros_(layer.bias)

    def forward(self, levels: Sequence[Tensor]) -> list[Tensor]:
        """Side levels [L, B, D] from levels [L, B, C]."""
        side: list[Tensor] = [self.down[0](levels[0])]
        rungs = zip(levels[1:], self.down[1:], self.gate.sigmoid(), self.norm, self.step, strict=True)
        for h, down, gate, norm, step in rungs:
            mixed = gate * side[-1] + (1 - gate) * down(h)  # [L, B, D]
            side.append(side[-1] + nn.functional.gelu(step(norm(mixed))))
        return side

    def view(self, body: Backbone, token: Tensor | None = None) -> View:
        assert token is None, "nothing would train it: no gradient passes the body"
        return SideView(self, body)


class SideView:
    """The levels of a ladder as a `View`."""

    def __init__(self, ladder: Ladder, body: Backbone) -> None:
        self.ladder, self.body = ladder, body
        self.channels, self.levels = ladder.width, body.levels
        self.max_length, self.causal = body.max_length, body.causal

    @property
    def device(self) -> torch.device:
        return self.body.device

    @property
    def item_table(self) -> Tensor:
        return self.body.item_table

    def __call__(self, items: Tensor) -> list[Tensor]:
        with torch.no_grad():
            frozen = self.body(items)  # levels of [L, B, C]
        real = (items != PAD).T.unsqueeze(-1)  # [L, B, 1]
        return [level * real for level in self.ladder(frozen)]
