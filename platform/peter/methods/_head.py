"""The linear map that ends every patch: from features to outputs, of low rank where outputs are many."""

import torch
from torch import Tensor, nn

from peter.methods import Setting
from peter.nn.init import truncated_normal_
from peter.task import LinearMap


def moments(features: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and scale [F] of features [B, F]; a constant feature has scale 1."""
    scale = features.std(0, correction=0)
    return features.mean(0), scale.where(scale > 0, 1)


class Head(nn.Module):
    """weight @ x + bias, or weight @ down @ x + bias; zero when fresh, so that nothing is said yet.

    `parts` maps of low rank that are put together have as many times the rank.
    """

    down: nn.Parameter | None

    def __init__(self, features: int, setting: Setting, parts: int = 1) -> None:
        super().__init__()
        rank = parts * (setting.kind.rank(setting.schema) or 0)  # R
        self.weight = nn.Parameter(torch.zeros(setting.outputs, rank or features))  # [K, F] or [K, R]
        self.bias = nn.Parameter(torch.zeros(setting.outputs))  # [K]
        self.register_parameter("down", nn.Parameter(torch.empty(rank, features)) if rank else None)  # [R, F]
        if self.down is not None:
            truncated_normal_(self.down, setting.seed, "head.down")

    def forward(self, features: Tensor) -> Tensor:
        inner = features if self.down is None else features @ self.down.T  # [B, F] or [B, R]
        return torch.addmm(self.bias, inner, self.weight.T)  # [B, K]

    @torch.no_grad()
    def fill(self, found: LinearMap) -> None:
        """Become that map."""
        self.weight.copy_(found.up)
        self.bias.copy_(found.bias)
        if self.down is not None:
            assert found.down is not None
            self.down.copy_(found.down)

    @torch.no_grad()
    def solve(self, train: tuple[Tensor, Tensor], valid: tuple[Tensor, Tensor], setting: Setting) -> None:
        """The kind's convex fit over (features [B, F], targets); it is done on standardised features.

        The map absorbs the standardisation, so that answering needs none.
        """
        mean, scale = (moment.cpu() for moment in moments(train[0]))
        seen, new = (((features.cpu() - mean) / scale, targets) for features, targets in (train, valid))
        [found] = setting.kind.fit_linear([(seen, new)], setting.schema)
        inner = (found.up if found.down is None else found.down) / scale  # reads raw features
        level = inner @ mean if found.down is None else found.up @ (inner @ mean)
        up, down = (inner, None) if found.down is None else (found.up, inner)
        self.fill(LinearMap(up, found.bias - level, down))
