"""Adaptors of a task's own between what is known of items and a frozen body."""

import copy

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from peter.nn.backbone import Backbone
from peter.nn.copies import OwnTensors
from peter.nn.dropout import Draws
from peter.nn.embedding import UNK
from peter.nn.graft import Reading
from peter.nn.init import seed_of, truncated_normal_
from peter.nn.items import Catalogue, Features, ItemEncoder, chosen
from peter.nn.view import TABLE, Grafted

TEMPERATURE = 0.07  # tau in the authors' code of ANT


class Adaptors(nn.Module):
    """Vectors of items from their features, by mixtures drawn anew; LayerNorm and tokens are carried over.

    With `ids` each row of the item table [V, C] has a vector of its own beside, which starts at 0.
    """

    ids: nn.Parameter | None

    def __init__(self, encoder: ItemEncoder, table: Tensor, seed: int, ids: bool) -> None:
        super().__init__()
        self.encoder = copy.deepcopy(encoder).requires_grad_(True)
        self.encoder.draw(seed)
        self.register_parameter("ids", nn.Parameter(torch.zeros_like(table)) if ids else None)
        self.draws = Draws(seed, "adaptors")

    def forward(self, items: Tensor, features: Features) -> Tensor:
        """[N, C] of rows `items` [N] with features [N, F]."""
        noisy = self.training and torch.is_grad_enabled()
        vectors: Tensor = self.encoder(items, features, self.draws() if noisy else None)
        if self.ids is None:
            return vectors
        owning = (items > UNK) & (items < len(self.ids))
        return vectors + F.embedding(items.where(owning, UNK), self.ids) * owning.unsqueeze(1)


class Relearned(nn.Module):
    """A frozen body that reads items through adaptors of one's own; a `Trunk`.

    What the body adds to items before its blocks, as positions, is drawn anew, too. With `random` the blocks,
    and they alone, are random as well, made from the seed whenever the trunk is built, no part of what is
    saved.
    """

    later = True

    def __init__(self, body: Backbone, catalogue: Catalogue, seed: int, ids: bool, random: bool) -> None:
        super().__init__()
        self.features = catalogue.features
        seed = seed_of(seed, "relearned")
        self.adaptors = Adaptors(catalogue.encoder, body.item_table, seed, ids)
        fresh, blocks = body.fresh(seed), body.block_tensors(range(body.sites // 2))
        fresh.item_embedding.later = body.item_embedding.later  # as many rows, none of which is read
        self.random = (fresh.requires_grad_(False),) if random else ()  # out of nn.Module's sight
        self.before = OwnTensors(
            {
                name: tensor
                for name, tensor in fresh.state_dict().items()
                if name not in blocks and name != TABLE
            }
        )

    def view(self, body: Backbone, token: Tensor | None = None) -> Grafted:
        own = self.before.tensors()
        if self.random:
            own[TABLE], (body,) = body.item_table, self.random
        return Grafted(body, Reading(self.read), own, token)

    def read(self, items: Tensor, x: Tensor) -> Tensor:
        """What stands for items [L, B], [L, B, C]; reserved rows stay what they are."""
        rows, at = items.unique(return_inverse=True)
        known = chosen(self.features(), rows.cpu()).items()
        vectors = self.adaptors(rows, {name: values.to(rows.device) for name, values in known})
        return torch.where((items > UNK).unsqueeze(-1), F.embedding(at, vectors), x)


class ItemScores(nn.Module):
    """g cos(P f, E(k)) / tau of users by their features f [B, F] and the K items that are asked for: [B, K].

    ANT has cos(h, E(k)) / tau of the last state h. Ours: P, as a read-out may be wider than an item, and g,
    which starts at 0, so that nothing is said yet. What is known of these items is kept with the patch:
    answers stay what they are when more becomes known.
    """

    def __init__(self, width: int, asked: Features, channels: int, seed: int) -> None:
        super().__init__()
        self.down = nn.Linear(width, channels, bias=False)  # P
        truncated_normal_(self.down.weight.data, seed, "item_scores.down", std=width**-0.5)
        self.gain = nn.Parameter(torch.zeros(()))  # g
        self.names = list(asked)
        for name, values in asked.items():
            self.register_buffer(name, values)

    def forward(self, features: Tensor, trunk: Relearned) -> Tensor:
        known = {name: self.get_buffer(name) for name in self.names}
        items = torch.full((len(known[self.names[0]]),), UNK, device=features.device)
        vectors = F.normalize(trunk.adaptors(items, known))  # [K, C]
        cosines: Tensor = F.normalize(self.down(features)) @ vectors.T
        return self.gain / TEMPERATURE * cosines
