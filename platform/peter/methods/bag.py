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
from peter.methods._counts import matrix, projected
from peter.nn.backbone import Backbone
from peter.space import Domain


class TfIdfLinear(nn.Module):
    """Linear outputs on l2-normalised (1 + log tf) * idf, the idf smooth and from training users alone.

    Where the kind wants a low rank R, items are first mapped to R numbers by `down`.
    """

    idf: Tensor
    down: nn.Parameter | None

    def __init__(self, setting: Setting) -> None:
        super().__init__()
        items, rank = setting.items, setting.kind.rank(setting.schema)  # V, R
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
        from sklearn.feature_extraction.text import TfidfTransformer  # slow to import; answering needs none

        transformer = TfidfTransformer(sublinear_tf=True)
        features = transformer.fit_transform(matrix(train.histories, setting.items))  # [B, V - RESERVED]
        others = transformer.transform(matrix(valid.histories, setting.items))
        found = setting.kind.fit_linear((features, train.targets), (others, valid.targets), setting.schema)
        self.idf[RESERVED:] = torch.from_numpy(transformer.idf_)
        self.bias.copy_(found.bias)
        if self.down is None:
            self.weight[:, RESERVED:] = found.up
        else:
            assert found.down is not None
            self.weight.copy_(found.up)
            self.down[:, RESERVED:] = found.down

    @torch.no_grad()
    def mix(self, outputs: Tensor) -> None:
        """Follow by a matrix [K, K] over the outputs, or by a factor [1]."""
        for tensor in (self.weight, self.bias):
            tensor.copy_(tensor * outputs if outputs.dim() < 2 else outputs @ tensor)


@dataclass(frozen=True)
class Options:
    """Nothing to choose."""


class Bag:
    """See `peter.methods.Method`."""

    options = Options

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
