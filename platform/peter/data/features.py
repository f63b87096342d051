"""What is known of items as features by modality: fitted on the items of one log, the same for later ones."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from peter.data.encodings import TEXTS, Centred, Encoding, Hashed, Ranked, categories, given
from peter.data.histories import RESERVED
from peter.data.items import ItemTable
from peter.nn.items import Features
from peter.nn.names import part, prefixed


class FeatureSpace:
    """How items become features [N, F] of each modality, zeros where a modality says nothing of an item.

    text: all columns of texts together, category: all categories, number: all numbers; vector0, vector1 ..:
    each column of vectors by itself.
    """

    def __init__(self, tensors: Mapping[str, Tensor], text: str) -> None:
        self.tensors = dict(tensors)  # all that was fitted, as `modality.what`
        self.encodings: Mapping[str, Encoding] = {
            "text": TEXTS[text], "category": Hashed(categories), "number": Ranked(),
        }  # fmt: skip

    @classmethod
    def fit(cls, table: ItemTable, ids: Sequence[str], text: str) -> "FeatureSpace":
        """Fitted on what a table says of items; texts by one of `TEXTS`.

        A modality that says nothing of any of them, or by vectors the same of all, is left out.

        Raises:
            InputError: the text encoder is not installed.
        """
        space, rows = cls({}, text), table.of(ids)
        for modality, columns in _modalities(table).items():
            some = rows[columns]
            if not all(column.null_count() == len(column) for column in some):
                fitted = space._encoding(modality).fit(some)
                contiguous = {name: tensor.contiguous() for name, tensor in fitted.items()}
                space.tensors |= prefixed(f"{modality}.", contiguous)
        return space

    def of(self, table: ItemTable, ids: Sequence[str]) -> dict[str, Tensor]:
        """Features [N, F] float32 of items by modality; empty where nothing was fitted."""
        rows, found = table.of(ids), {}
        for modality, columns in _modalities(table).items():
            if mine := part(f"{modality}.", self.tensors):
                found[modality] = self._encoding(modality).numbers(rows[columns], mine)
        return found

    def _encoding(self, modality: str) -> Encoding:
        return self.encodings.get(modality, Centred(given))


@dataclass(frozen=True)
class FittedFeatures:
    """The features of a log's items, and the space that was fitted on them."""

    space: FeatureSpace
    features: Features  # [V, F] by row of the item table

    @classmethod
    def fit(cls, table: ItemTable, ids: Sequence[str], text: str) -> "FittedFeatures":
        """As `FeatureSpace.fit`; `ids` are those of the log's items, in the order of their rows."""
        space = FeatureSpace.fit(table, ids, text)
        return cls(space, below_reserved(space.of(table, ids)))

    @property
    def widths(self) -> dict[str, int]:
        """F of each modality."""
        return {name: values.shape[1] for name, values in sorted(self.features.items())}


def below_reserved(features: Features) -> dict[str, Tensor]:
    """Features [V, F] by row of an item table from those of its items: zeros in the reserved rows."""
    return {name: F.pad(values, (0, 0, RESERVED, 0)) for name, values in features.items()}


def _modalities(table: ItemTable) -> dict[str, list[str]]:
    """The columns of each modality."""
    found: dict[str, list[str]] = {}
    vectors = 0
    for column, kind in sorted(table.kinds.items()):
        name = f"vector{vectors}" if kind == "vector" else kind
        vectors += kind == "vector"
        found.setdefault(name, []).append(column)
    return found
