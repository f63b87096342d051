"""Items by what is known of them: gates, mixtures, fusion, and what is made of nothing."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from peter.nn.embedding import PAD, UNK, ItemEmbedding
from peter.nn.items import ItemEncoder, Mixture, described

WIDTHS = {"text": 6, "number": 4, "vector0": 5}


def draws(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def features(items: int = 9, seed: int = 0) -> dict[str, Tensor]:
    return {name: torch.randn(items, width, generator=draws(seed)) for name, width in WIDTHS.items()}


def encoder(seed: int = 0, **options: float) -> ItemEncoder:
    made = ItemEncoder(WIDTHS, 8, experts=3, **options)
    made.draw(seed)
    return made


def mixture(whitens: bool) -> Mixture:
    made = Mixture(6, 8, experts=3, dropout=0.5, whitens=whitens)
    made.draw(0, "text")
    torch.nn.init.normal_(made.shift)
    torch.nn.init.normal_(made.gate)
    return made


@pytest.mark.parametrize("whitens", [True, False])
def test_a_mixture_is_the_sum_of_its_experts(whitens: bool) -> None:
    made, x = mixture(whitens), torch.randn(4, 6)
    gates, expected = torch.softmax(x @ made.gate, dim=1), torch.zeros(4, 8)
    for k in range(3):
        own = (x - made.shift[k]) @ made.weight[k] if whitens else x @ made.weight[k] + made.shift[k]
        expected += gates[:, k : k + 1] * own
    torch.testing.assert_close(made(x), expected)


def test_gates_are_even_when_fresh_sum_to_one_and_are_noisy_in_training_alone() -> None:
    fresh, x = Mixture(6, 8, experts=4, dropout=0.2, whitens=True), torch.randn(50, 6)
    fresh.draw(0, "text")
    assert torch.equal(fresh.gates(x), torch.full((50, 4), 0.25))
    noisy = mixture(True).gates(x, draws(1))
    torch.testing.assert_close(noisy.sum(1), torch.ones(50))
    assert not torch.equal(noisy, mixture(True).gates(x, draws(2)))
    logits = fresh.gates(x.repeat(400, 1), draws()).log()  # softplus(0) + 0.01 is the deviation of each
    assert (logits[:, 0] - logits[:, 1]).std().item() == pytest.approx(2**0.5 * 0.7031, rel=0.02)


def test_a_pass_hangs_on_its_draws_alone() -> None:
    made, known = encoder(dropout=0.5), features()
    items = torch.arange(9)
    assert torch.equal(made(items, known, draws(1)), made(items, known, draws(1)))
    assert not torch.equal(made(items, known, draws(1)), made(items, known, draws(2)))
    assert torch.equal(made(items, known), made(items, known))


def test_products_are_of_modalities_that_whiten() -> None:
    parts = {name: torch.randn(9, 8) for name in WIDTHS}
    made = encoder(interaction=0.5)
    total = sum(parts.values()) + 0.5 * parts["text"] * parts["vector0"]
    torch.testing.assert_close(made.fused(parts), 0.02 * F.layer_norm(total, (8,), eps=1e-8))


def test_what_is_not_known_adds_nothing() -> None:
    """An item without an image scores by its text and price, and one without anything is a token."""
    made, known = encoder(), features()
    for drawn in (made.tokens, made.mixtures["vector0"].shift):
        torch.nn.init.normal_(drawn)
    known["vector0"][5] = 0
    assert torch.equal(made.parts(known)["vector0"][5], torch.zeros(8))
    for values in known.values():
        values[:4] = values[7] = 0
    table = made.table(known)
    assert described(known).tolist() == [False] * 4 + [True] * 3 + [False, True]
    assert torch.equal(table[PAD], torch.zeros(8))
    assert torch.equal(table[1:4], made.tokens[1:])
    assert torch.equal(table[7], made.tokens[UNK])
    assert table.isfinite().all()
    some = {name: values[4:7] for name, values in known.items()}
    torch.testing.assert_close(table[4:7], made(torch.arange(4, 7), some))


def test_every_tensor_learns() -> None:
    made = encoder()
    made(torch.arange(9), features(), draws()).square().sum().backward()
    for name, parameter in made.named_parameters():
        if name != "tokens":  # all are described
            assert parameter.grad is not None
            assert parameter.grad.abs().sum() > 0 or name == "norm.bias", name


def test_the_seed_decides_where_it_starts() -> None:
    one, same, other = encoder(0), encoder(0), encoder(1)
    assert all(map(torch.equal, one.parameters(), same.parameters()))
    assert not torch.equal(one.mixtures["text"].weight, other.mixtures["text"].weight)
    assert not torch.equal(one.mixtures["text"].weight[0], one.mixtures["text"].weight[1])


class TestItemEmbedding:
    def embedding(self) -> ItemEmbedding:
        made = ItemEmbedding(10, 4)
        torch.nn.init.normal_(made.weight)
        return made

    def test_it_is_torchs_own(self) -> None:
        made, items = self.embedding(), torch.tensor([[4, 0], [9, 3]])
        assert torch.equal(made(items), F.embedding(items, made.weight))

    def test_later_rows_are_read_and_never_kept_or_trained(self) -> None:
        made = self.embedding()
        made.later = torch.ones(2, 4)
        found = made(torch.tensor([4, 10, 11]))
        assert torch.equal(found[1:], torch.ones(2, 4))
        assert torch.equal(found[0], made.weight[4])
        found.sum().backward()
        assert made.weight.grad is not None
        assert made.weight.grad.sum(1).nonzero().flatten().tolist() == [4]
        assert made.state_dict().keys() == {"weight"}

    def test_later_rows_change_no_layout(self) -> None:
        """Or sums over what is read would round otherwise, and answers that have none of them change."""
        made, items = self.embedding(), torch.randint(10, (3, 7)).T
        before = made(items)
        made.later = torch.ones(2, 4)
        after = made(items)
        assert torch.equal(after, before)
        assert after.stride() == before.stride()
