"""Per-item weights are stored for the items that have one, and come back bit for bit."""

import pytest
import torch

from peter.errors import CorruptObject
from peter.services.patch.packing import COLUMNS, learnt, packed, unpacked

ITEMS = 10


@pytest.fixture
def tensors() -> dict[str, torch.Tensor]:
    wide = torch.zeros(2, ITEMS)
    wide[:, [4, 7]] = torch.tensor([[1.5, 0.0], [-1.5, 2.0]])
    return {"wide": wide, "dense": torch.ones(3, ITEMS), "head": torch.zeros(2, 5), "idf": torch.zeros(ITEMS)}


def test_what_was_not_learnt_is_not_stored(tensors: dict[str, torch.Tensor]) -> None:
    stored = packed(tensors, ITEMS)
    assert stored["wide"].shape == (2, 2)
    assert stored["wide" + COLUMNS].tolist() == [4, 7]
    assert set(stored) == {*tensors, "wide" + COLUMNS}
    assert learnt(tensors, ITEMS) == 4 + 30 + 10 + ITEMS


def test_it_comes_back_as_it_was(tensors: dict[str, torch.Tensor]) -> None:
    back = unpacked(packed(tensors, ITEMS), tensors)
    assert back.keys() == tensors.keys()
    assert all(torch.equal(back[name], tensor) for name, tensor in tensors.items())


@pytest.mark.parametrize("columns", [[4, ITEMS], [-1, 4], [4]])
def test_places_that_are_none_are_refused(tensors: dict[str, torch.Tensor], columns: list[int]) -> None:
    stored = packed(tensors, ITEMS)
    stored["wide" + COLUMNS] = torch.tensor(columns, dtype=torch.int32)
    with pytest.raises(CorruptObject):
        unpacked(stored, tensors)


def test_places_of_nothing_are_no_tensor_of_the_patch(tensors: dict[str, torch.Tensor]) -> None:
    stored = packed(tensors, ITEMS) | {"other" + COLUMNS: torch.zeros(1, dtype=torch.int32)}
    assert "other" + COLUMNS in unpacked(stored, tensors)
