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
from peter.nn.backbone import Backbone
from peter.space import Domain


@dataclass(frozen=True)
class Counts:
    """N pairs of a user and an item that occurs in the user's history, in order of user, then item."""

    user: Tensor  # [N] int64
    item: Tensor  # [N] int64
    count: Tensor  # [N] int64


def counts(histories: Histories, items: int) -> Counts:
    """How often each user has each item; reserved rows (padding, unknown items) are left out."""
    known = histories.items >= RESERVED
    cells, count = (histories.user * items + histories.items)[known].unique(return_counts=True)
    return Counts(cells // items, cells % items, count)


class TfIdfLinear(nn.Module):
    """Linear outputs on l2-normalised (1 + log tf) * idf, the idf smooth and from training users alone."""

    idf: Tensor

    def __init__(self, items: int, outputs: int) -> None:
        super().__init__()
        self.register_buffer("idf", torch.zeros(items))  # [V]
        self.weight = nn.Parameter(torch.zeros(outputs, items))  # [K, V]
        self.bias = nn.Parameter(torch.zeros(outputs))  # [K]

    def forward(self, body: Backbone, histories: Histories) -> Tensor:
        device = self.idf.device
        found = counts(histories, len(self.idf))
        user, item = found.user.to(device), found.item.to(device)
        value = (1 + found.count.to(self.idf).log()) * self.idf[item]  # [N]
        norm = self.idf.new_zeros(len(histories)).index_add(0, user, value.square()).sqrt()  # [B]
        added = value[:, None] * self.weight.t()[item]  # [N, K]
        sums = self.weight.new_zeros(len(histories), len(self.bias)).index_add(0, user, added)
        return sums / norm.where(norm > 0, 1).unsqueeze(1) + self.bias  # [B, K]

    def solve(self, train: Examples, valid: Examples, setting: Setting) -> None:
        """Fill all three tensors by the kind's convex fit."""
        from sklearn.feature_extraction.text import TfidfTransformer  # slow to import; answering needs none

        transformer = TfidfTransformer(sublinear_tf=True)
        features = transformer.fit_transform(_matrix(train.histories, setting.items))  # [B, V - RESERVED]
        others = transformer.transform(_matrix(valid.histories, setting.items))
        found = setting.kind.fit_linear((features, train.targets), (others, valid.targets), setting.schema)
        with torch.no_grad():
            self.idf[RESERVED:] = torch.from_numpy(transformer.idf_)
            self.weight[:, RESERVED:] = found.up
            self.bias.copy_(found.bias)

    def mix(self, outputs: Tensor) -> None:
        """Follow by a matrix [K, K] over the outputs."""
        with torch.no_grad():
            self.weight.copy_(outputs @ self.weight)
            self.bias.copy_(outputs @ self.bias)


def _matrix(histories: Histories, items: int) -> Any:
    """Counts as a scipy CSR matrix [B, V - RESERVED]."""
    from scipy.sparse import csr_matrix

    found = counts(histories, items)
    cells = found.user.numpy(), (found.item - RESERVED).numpy()
    return csr_matrix((found.count.double().numpy(), cells), shape=(len(histories), items - RESERVED))


@dataclass(frozen=True)
class Options:
    """Nothing to choose."""


class Bag:
    """See `peter.methods.Method`."""

    options = Options

    def build(self, setting: Setting, options: Options) -> TfIdfLinear:
        return TfIdfLinear(setting.items, setting.outputs)

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
