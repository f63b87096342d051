"""A body whose items are what an encoder makes of their features (ANT, Peng et al., 2023)."""

from collections.abc import Mapping
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from peter.config import PretrainConfig
from peter.data.features import FittedFeatures
from peter.data.histories import RESERVED
from peter.nn.backbone import Backbone
from peter.nn.graft import Graft, Reading, vectors
from peter.nn.init import truncated_normal_
from peter.nn.items import TEXT, VECTOR, Features, ItemEncoder, chosen, known
from peter.nn.losses import in_batch_softmax
from peter.training.batches import Batch
from peter.training.pretrain_model import Negatives, answering


class FeatureModel(nn.Module):
    """score(x, v) = cos(h, E(v)) / tau + log p(v), with h a position of the last level; a `PretrainModel`.

    Learnt by L = L_si + w L_iv over the items of a batch alone, so that a step costs the same whatever the
    catalogue: L_si has each place find its item among all that the batch asks for, those of the same item
    left out; L_iv has each vector that somebody made (of an image, in ANT) find the text of its item. Of the
    authors' code are w and the cosines; its tau is .07, here `temperature`. Ours: every place is asked and
    not only the last, as the body is causal; and p(v), how often items are had. Candidates come as often as
    they are popular, so that the cosine learns what beside that speaks for an item, and ranks among all items
    only with it.
    """

    bias: Tensor

    def __init__(
        self, body: Backbone, counts: Tensor, fitted: FittedFeatures, config: PretrainConfig
    ) -> None:
        """`counts` [V]: how often training users have each item; one is added."""
        super().__init__()
        self.body, self.items, self.config = body, len(counts), config
        self.fitted, self.features = fitted, fitted.features
        body.item_embedding.weight.requires_grad_(False)
        self.encoder = encoder_of(fitted.widths, body.channels, config)
        self.encoder.draw(config.seed)
        truncated_normal_(self.encoder.tokens.data, config.seed, "items.tokens")  # 0 has no direction
        had = counts[RESERVED:] + 1.0
        self.register_buffer("bias", (had / had.sum()).log(), persistent=False)

    @property
    def table(self) -> Tensor:
        """E / (tau |E|) [V-4, C], as of the last evaluation."""
        return F.normalize(self.body.item_table[RESERVED:]) / self.config.temperature

    def scored(self, h: Tensor) -> Tensor:
        """h / |h|."""
        return F.normalize(h, dim=-1)

    def train(self, mode: bool = True) -> Self:
        """As nn.Module; in evaluation the body's item table is what the encoder makes of the catalogue."""
        super().train(mode)
        if not mode:
            self.body.item_embedding.weight.data.copy_(self.encoder.table(self.features))
        return self

    def forward(
        self,
        batch: Batch,
        negatives: Negatives | None = None,
        dtype: torch.dtype = torch.float32,
        graft: Graft | None = None,
    ) -> Tensor:
        items = torch.cat([batch.inputs.flatten(), batch.targets.flatten()]).unique()  # [U]
        draws = torch.Generator().manual_seed(batch.seed) if self.training else None
        features = {name: values.to(self.bias) for name, values in chosen(self.features, items).items()}
        parts = self.encoder.parts(features, draws)
        items = items.to(self.bias.device)
        rows = self.encoder.completed(items, self.encoder.fused(parts), features)  # [U, C]
        h, asked = answering(self.body, batch, Reading(vectors(items, rows), graft), dtype)
        wanted, answers, counts = asked.unique(return_inverse=True, return_counts=True)
        table = F.normalize(rows[torch.searchsorted(items, wanted)]) / self.config.temperature
        loss = in_batch_softmax(self.scored(h), table, answers, counts)
        return loss + self.config.pair_weight * pairs(parts, features, self.config.temperature)


def encoder_of(widths: Mapping[str, int], channels: int, config: PretrainConfig) -> ItemEncoder:
    """A fresh encoder of the shape that `config` names; its values are not drawn yet."""
    return ItemEncoder(widths, channels, config.experts, config.feature_dropout, config.interaction)


def pairs(parts: dict[str, Tensor], features: Features, temperature: float) -> Tensor:
    """L_iv: -log softmax of cos(v_i, t_j) / tau at j = i, a mean over items that have both; 0 if none has.

    With several kinds of vectors it is their sum.
    """
    total = next(iter(parts.values())).new_zeros(())
    for name in (name for name in parts if name.startswith(VECTOR) and TEXT in parts):
        both = known(features[name]) & known(features[TEXT])
        if int(both.sum()) > 1:
            made, texts = (F.normalize(parts[each][both]) for each in (name, TEXT))
            scores = made @ texts.T / temperature  # [n, n]
            total = total + F.cross_entropy(scores, torch.arange(len(scores), device=scores.device))
    return total
