"""What a backbone knows its items by, where its item table is made of their features."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from peter.config import PretrainConfig, from_dict
from peter.data.features import FeatureSpace, FittedFeatures, below_reserved
from peter.data.histories import RESERVED
from peter.data.items import ItemTable
from peter.data.vocabulary import Vocabulary
from peter.errors import CorruptObject
from peter.nn.backbone import Backbone
from peter.nn.items import Catalogue, Features, ItemEncoder, described
from peter.nn.names import part, prefixed
from peter.registry import models
from peter.services.logs import newest_log, open_items
from peter.services.workspace import Workspace
from peter.training.feature_model import encoder_of

SPACE, ENCODER = "features.", "encoder."  # in front of names in a stored backbone


def fitted_features(
    workspace: Workspace, log: models.EventLog, vocabulary: Vocabulary, text: str
) -> FittedFeatures | None:
    """Those of a log's items, texts by one of `TEXTS`; None where nothing is known of any.

    Raises:
        InputError: the text encoder is not installed.
    """
    if (table := open_items(workspace, log)) is None:
        return None
    found = FittedFeatures.fit(table, vocabulary.item_ids[RESERVED:], text)
    return found if found.features else None


def stored(space: FeatureSpace) -> dict[str, Tensor]:
    """What was fitted, as a backbone's file holds it."""
    return prefixed(SPACE, space.tensors)


@dataclass(frozen=True)
class Described:
    """The items of a frozen backbone, and those that its event log got since, by their features."""

    workspace: Workspace
    row: models.Backbone
    space: FeatureSpace
    encoder: ItemEncoder

    @classmethod
    def of(
        cls, workspace: Workspace, row: models.Backbone, tensors: Mapping[str, Tensor], channels: int
    ) -> "Described | None":
        """From what is stored; None for a backbone with an item table of its own. Raises CorruptObject."""
        weights = part(ENCODER, tensors)
        if not weights:
            return None
        config = from_dict(PretrainConfig, row.config)
        space = FeatureSpace(part(SPACE, tensors), config.text_encoder)
        encoder = encoder_of(row.features, channels, config)
        try:
            encoder.load_state_dict(weights)
        except RuntimeError as error:
            raise CorruptObject(f"The item encoder of {row.reference} does not fit: {error}") from None
        return cls(workspace, row, space, encoder.eval().requires_grad_(False))

    @property
    def catalogue(self) -> Catalogue:
        """As methods see it."""
        return Catalogue(self.encoder, lambda: self.features)

    @cached_property
    def features(self) -> Features:
        """[V+N, F]: rows of the backbone as its own version of the log knew them, later ones as known now."""
        table = open_items(self.workspace, self.row.event_log)
        assert table is not None, "it learnt by one"
        own = below_reserved(self.space.of(table, self._ids(self.row.event_log)))
        later = self._later
        return {name: torch.cat([values, later[name]]) for name, values in own.items()} if later else own

    def of_items(self, ids: Sequence[str]) -> Features:
        """[n, F] of any items, as they are known now."""
        return self.space.of(self._table, ids)

    @cached_property
    def later_known(self) -> npt.NDArray[np.bool_]:
        """[N] of which items that came since anything is known."""
        return described(self._later).numpy() if self._later else np.empty(0, bool)

    @torch.no_grad()
    def lengthen(self, body: Backbone) -> None:
        """Give the body rows for the items that came since, as its encoder makes them."""
        if self._later:
            rows = torch.arange(len(self.later_known)) + body.item_embedding.num_embeddings
            body.item_embedding.later = self.encoder(rows, self._later)

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
