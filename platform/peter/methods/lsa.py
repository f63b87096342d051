"""Latent semantic analysis: what a few directions of all users' counts tell; no backbone.

The unsupervised control: like a backbone, and unlike `bag`, it learns from users who have no label.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from peter.config import BackboneConfig
from peter.data.histories import RESERVED, Histories
from peter.errors import InputError
from peter.methods import ClosedForm, Examples, Phase, Setting
from peter.methods._counts import directions, projected, tfidf
from peter.methods._head import Head
from peter.nn.backbone import Backbone
from peter.space import Choice, Domain


@dataclass(frozen=True)
class Options:
    """What `--set` may change."""

    components: int = 128  # F; fewer where there are fewer items


class LsaPatch(nn.Module):
    """Truncated SVD of all training users' TF-IDF (Deerwester et al., JASIS 1990), then a linear head."""

    idf: Tensor

    def __init__(self, setting: Setting, options: Options) -> None:
        super().__init__()
        if options.components < 1:
            raise InputError(f"components={options.components} cannot be used; give components=1 or more.")
        features = min(options.components, setting.items - RESERVED)  # F
        self.register_buffer("idf", torch.zeros(setting.items))  # [V]
        self.components = nn.Parameter(torch.zeros(features, setting.items))  # [F, V]
        self.head = Head(features, setting)

    def forward(self, body: Backbone, histories: Histories) -> Tensor:
        outputs: Tensor = self.head(projected(histories, self.idf, self.components))  # [B, K]
        return outputs

    @torch.no_grad()
    def decompose(self, users: Histories) -> None:
        """Find idf and components; those that so few users do not have stay zero."""
        transformer = tfidf(users, len(self.idf))
        axes = directions(users, len(self.idf), transformer, len(self.components))
        self.idf[RESERVED:] = torch.from_numpy(transformer.idf_)
        self.components[: len(axes), RESERVED:] = axes

    @torch.no_grad()
    def solve(self, train: Examples, valid: Examples, setting: Setting) -> None:
        """Decompose the counts of the log's training users (or of the labelled alone); fit the head."""
        everybody = setting.population()
        self.decompose(everybody if len(everybody) else train.histories)
        seen, new = (
            (projected(users.histories, self.idf, self.components), users.targets) for users in (train, valid)
        )
        [found] = setting.kind.fit_linear([(seen, new)], setting.schema)
        self.head.fill(found)  # weak directions stay weak


class Lsa:
    """See `peter.methods.Method`."""

    options = Options
    deployable = True
    rooted = False

    def build(self, setting: Setting, options: Options) -> LsaPatch:
        return LsaPatch(setting, options)

    def phases(self, patch: nn.Module, setting: Setting, options: Options) -> Sequence[Phase]:
        assert isinstance(patch, LsaPatch)

        def fit(train: Examples, valid: Examples) -> None:
            patch.solve(train, valid, setting)

        return [ClosedForm("components", fit)]

    def adapter_config(self, options: Options) -> Mapping[str, Any]:
        return {"peft_type": "LSA", "modules_to_save": ["idf", "components", "head"], "pooling": "tfidf"}

    def space(self, shape: BackboneConfig) -> Mapping[str, Domain]:
        return {"components": Choice((32, 64, 128, 256))}


plugin = Lsa()
