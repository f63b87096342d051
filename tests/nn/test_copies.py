"""Tensors of a task's own in place of the body's."""

import torch

from peter.nn.copies import OwnTensors
from peter.testing import ITEMS, fingerprint, tiny_body

ITEM_ROWS = torch.randint(4, ITEMS, (3, 9), generator=torch.Generator().manual_seed(0))


def test_fresh_copies_are_the_body_bit_for_bit() -> None:
    body = tiny_body()
    levels = OwnTensors(body.state_dict()).view(body)(ITEM_ROWS)
    assert all(torch.equal(level, plain) for level, plain in zip(levels, body(ITEM_ROWS), strict=True))


def test_what_is_copied_counts_instead_and_nothing_else() -> None:
    """All of it from another body: the answer is that other body's."""
    body, other = tiny_body(), tiny_body(seed=1)
    levels = OwnTensors(other.state_dict()).view(body)(ITEM_ROWS)
    assert all(torch.equal(level, plain) for level, plain in zip(levels, other(ITEM_ROWS), strict=True))
    names = body.block_tensors(range(1, 2))
    mixed = OwnTensors({name: other.state_dict()[name] for name in names}).view(body)(ITEM_ROWS)
    same = [torch.equal(level, plain) for level, plain in zip(mixed, body(ITEM_ROWS), strict=True)]
    assert same == [True, True, False]


def test_copies_learn_and_the_body_does_not() -> None:
    """Whole, under weight decay; the padding's row stays 0."""
    body = tiny_body()
    before, trunk = fingerprint(body.state_dict()), OwnTensors(body.state_dict())
    optimizer = torch.optim.AdamW(trunk.parameters(), lr=0.01, weight_decay=0.1)
    items = ITEM_ROWS.clone()
    items[0, :4] = 0
    for _ in range(3):
        optimizer.zero_grad()
        (trunk.view(body)(items)[-1] - 1).square().mean().backward()
        optimizer.step()
    assert fingerprint(body.state_dict()) == before
    assert all(parameter.grad is None for parameter in body.parameters())
    own = {name.replace("/", "."): tensor for name, tensor in trunk.own.items()}
    assert [name for name, tensor in body.state_dict().items() if torch.equal(own[name], tensor)] == []
    assert not own["item_embedding.weight"][0].any()
