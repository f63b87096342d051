"""What is known of items as features by modality: fitted on the items of one log, the same for later ones."""

from collections.abc import Mapping, Sequence

from torch import Tensor

from peter.data.encodings import TEXTS, Centred, Encoding, Hashed, Ranked, categories, given
from peter.data.items import ItemTable


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
                space.tensors |= {
                    f"{modality}.{name}": tensor.contiguous() for name, tensor in fitted.items()
                }
        return space

    def of(self, table: ItemTable, ids: Sequence[str]) -> dict[str, Tensor]:
        """Features [N, F] float32 of items by modality; empty where nothing was fitted."""
        rows, found = table.of(ids), {}
        for modality, columns in _modalities(table).items():
            mine = {
                name.removeprefix(f"{modality}."): tensor
                for name, tensor in self.tensors.items()
                if name.startswith(f"{modality}.")
            }
            if mine:
                found[modality] = self._encoding(modality).numbers(rows[columns], mine)
        return found

    def _encoding(self, modality: str) -> Encoding:
        return self.encodings.get(modality, Centred(given))


def _modalities(table: ItemTable) -> dict[str, list[str]]:
    """The columns of each modality."""
    found: dict[str, list[str]] = {}
    vectors = 0
    for column, kind in sorted(table.kinds.items()):
        name = f"vector{vectors}" if kind == "vector" else kind
        vectors += kind == "vector"
        found.setdefault(name, []).append(column)
    return found
