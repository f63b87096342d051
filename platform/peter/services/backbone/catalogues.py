"""What a backbone knows its items by, where its item table is made of their features."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from peter.config import PretrainConfig, from_dict
from peter.data.features import FeatureSpace
from peter.data.histories import RESERVED
from peter.data.items import ItemTable
from peter.data.vocabulary import Vocabulary
from peter.errors import CorruptObject
from peter.nn.backbone import Backbone
from peter.nn.items import Catalogue, Features, ItemEncoder, described
from peter.registry import models
from peter.services.logs import newest_log, open_items
from peter.services.workspace import Workspace
from peter.training.feature_model import encoder_of

SPACE, ENCODER = "features.", "encoder."  # in front of names in a stored backbone


@dataclass
class Known:
    """What is known of the items of one event log, as features; fitted only if somebody asks for them."""

    workspace: Workspace
    log: models.EventLog
    vocabulary: Vocabulary
    text: str  # the text encoder
    space: FeatureSpace | None = None
    widths: dict[str, int] = field(default_factory=dict)  # F of each modality

    def features(self) -> Features | None:
        """[V, F] by row of the item table, zeros in the reserved ones; None where nothing tells of any."""
        table = open_items(self.workspace, self.log)
        if table is None:
            return None
        ids = self.vocabulary.item_ids[RESERVED:]
        self.space = FeatureSpace.fit(table, ids, self.text)
        found = self.space.of(table, ids)
        self.widths = {name: values.shape[1] for name, values in sorted(found.items())}
        return _below_reserved(found) or None

    def tensors(self) -> dict[str, Tensor]:
        """What was fitted, as a backbone's file holds it."""
        return {SPACE + name: tensor for name, tensor in self.space.tensors.items()} if self.space else {}


@dataclass
class Described:
    """The items of a frozen backbone, and those that its event log got since, by their features."""

    workspace: Workspace
    row: models.Backbone
    space: FeatureSpace
    encoder: ItemEncoder
    known: npt.NDArray[np.bool_] = field(init=False)  # [N] of which later items anything is known

    @classmethod
    def of(
        cls, workspace: Workspace, row: models.Backbone, stored: Mapping[str, Tensor], body: Backbone
    ) -> "Described | None":
        """Give a body its later rows; None for one that has a table of its own. Raises CorruptObject."""
        weights = _part(ENCODER, stored)
        if not weights:
            return None
        config = from_dict(PretrainConfig, row.config)
        space = FeatureSpace(_part(SPACE, stored), config.text_encoder)
        widths = {
            name.split(".")[1]: tensor.shape[0] for name, tensor in weights.items() if name.endswith(".gate")
        }
        found = cls(workspace, row, space, encoder_of(widths, body.channels, config))
        try:
            found.encoder.load_state_dict(weights)
        except RuntimeError as error:
            raise CorruptObject(f"The item encoder of {row.reference} does not fit: {error}") from None
        found.encoder.eval().requires_grad_(False)
        found._lengthen(body)
        return found

    @property
    def catalogue(self) -> Catalogue:
        """As methods see it."""
        return Catalogue(self.encoder, lambda: self.features)

    @cached_property
    def features(self) -> Features:
        """[V+N, F]: rows of the backbone as its own version of the log knew them, later ones as known now."""
        table = open_items(self.workspace, self.row.event_log)
        assert table is not None, "it learnt by one"
        own = _below_reserved(self.space.of(table, self._ids(self.row.event_log)))
        later = self._later
        return {name: torch.cat([values, later[name]]) for name, values in own.items()} if later else own

    def of_items(self, ids: Sequence[str]) -> Features:
        """[n, F] of any items, as they are known now."""
        return self.space.of(self._table, ids)

    @cached_property
    def _table(self) -> ItemTable:
        table = open_items(self.workspace, self._newest)
        assert table is not None, "an append carries it on"
        return table

    @cached_property
    def _newest(self) -> models.EventLog:
        return newest_log(self.workspace, self.row.event_log)

    @cached_property
    def _later(self) -> Features | None:
        """[N, F] of the items that came since; None where there are none."""
        since = self.row.event_log.items
        return self.of_items(self._ids(self._newest)[since:]) if self._newest.items > since else None

    def _ids(self, log: models.EventLog) -> list[str]:
        return Vocabulary.load(self.workspace.objects.path(log.vocab_sha256)).item_ids[RESERVED:]

    @torch.no_grad()
    def _lengthen(self, body: Backbone) -> None:
        """Give the body rows for the items that came since, as its encoder makes them."""
        self.known = described(self._later).numpy() if self._later else np.empty(0, bool)
        if self._later:
            rows = torch.arange(len(self.known)) + body.item_embedding.num_embeddings
            body.item_embedding.later = self.encoder(rows, self._later)


def _below_reserved(features: Features) -> Features:
    return {name: F.pad(values, (0, 0, RESERVED, 0)) for name, values in features.items()}


def _part(prefix: str, stored: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in stored.items() if name.startswith(prefix)}
