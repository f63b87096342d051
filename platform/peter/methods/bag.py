"""Counting: logistic or ridge regression on how often each item occurs in the whole history; no backbone.

What a user would try first, and on small data hard to beat. It may be deployed like any other method.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from peter.config import BackboneConfig
from peter.data.histories import RESERVED, Histories
from peter.methods import ClosedForm, Examples, Phase, Setting
from peter.methods._counts import matrix, projected, tfidf
from peter.nn.backbone import Backbone
from peter.space import Domain
from peter.task import LinearMap


class TfIdfLinear(nn.Module):
    """Linear outputs on l2-normalised (1 + log tf) * idf, the idf smooth and from training users alone.

    Where the kind wants a low rank R, items are first mapped to R numbers by `down`; `parts` maps that are
    put together have as many times R.
    """

    idf: Tensor
    down: nn.Parameter | None

    def __init__(self, setting: Setting, parts: int = 1) -> None:
        super().__init__()
        items, rank = setting.items, parts * (setting.kind.rank(setting.schema) or 0)  # V, R
        self.register_buffer("idf", torch.zeros(items))  # [V]
        self.weight = nn.Parameter(torch.zeros(setting.outputs, rank or items))  # [K, V] or [K, R]
        self.bias = nn.Parameter(torch.zeros(setting.outputs))  # [K]
        self.register_parameter("down", nn.Parameter(torch.zeros(rank, items)) if rank else None)  # [R, V]

    def forward(self, body: Backbone, histories: Histories) -> Tensor:
        if self.down is None:
            return projected(histories, self.idf, self.weight) + self.bias  # [B, K]
        return projected(histories, self.idf, self.down) @ self.weight.T + self.bias

    @torch.no_grad()
    def solve(self, train: Examples, valid: Examples, setting: Setting) -> None:
        """Fill all tensors by the kind's convex fit."""
        transformer = tfidf(train.histories, setting.items)
        seen, new = (transformer.transform(matrix(u.histories, setting.items)) for u in (train, valid))
        [found] = setting.kind.fit_linear([((seen, train.targets), (new, valid.targets))], setting.schema)
        self.fill(found, torch.from_numpy(transformer.idf_))

    @torch.no_grad()
    def fill(self, found: LinearMap, idf: Tensor) -> None:
        """Become that map over the items that are not reserved, with their idf."""
        self.idf[RESERVED:] = idf
        self.bias.copy_(found.bias)
        if self.down is None:
            self.weight[:, RESERVED:] = found.up
        else:
            assert found.down is not None
            self.weight.copy_(found.up)
            self.down[:, RESERVED:] = found.down

    @torch.no_grad()
    def scale(self, share: float) -> None:
        """Let the outputs count so much."""
        self.weight.mul_(share)
        self.bias.mul_(share)


@dataclass(frozen=True)
class Options:
    """Nothing to choose."""


class Bag:
    """See `peter.methods.Method`."""

    options = Options
    deployable = True
    rooted = False

    def build(self, setting: Setting, options: Options) -> TfIdfLinear:
        return TfIdfLinear(setting)

    def phases(self, patch: nn.Module, setting: Setting, options: Options) -> Sequence[Phase]:
        assert isinstance(patch, TfIdfLinear)

        def fit(train: Examples, valid: Examples) -> None:
            patch.solve(train, valid, setting)

        return [ClosedForm("counts", fit)]

    def adapter_config(self, options: Options) -> Mapping[str, Any]:
        return {"peft_type": "BAG", "modules_to_save": ["idf", "weight", "bias"], "pooling": "tfidf"}

    def space(self, shape: BackboneConfig) -> Mapping[str, Domain]:
        return {}


plugin = Bag()
