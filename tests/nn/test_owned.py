"""Weights that tasks own one after another: whose is what, and that nobody's moves but one's own."""

from collections.abc import Callable, Iterable

import pytest
import torch
from torch import Tensor, nn

from peter.errors import InputError
from peter.nn.backbone import Backbone
from peter.nn.bits import from_bytes, to_bytes
from peter.nn.copies import key
from peter.nn.owned import KEPT, Claim, OwnedWeights, Root, owners, prunable, quota, strongest
from peter.testing import tiny_body

PRUNED = 0.6


@pytest.fixture
def body() -> Backbone:
    return tiny_body()


@pytest.fixture
def root(body: Backbone) -> Root:
    return Root.cut(body, PRUNED)


def owned(body: Backbone, root: Root, claims: Iterable[Claim] = (), **options: object) -> OwnedWeights:
    usual = {"pruned": PRUNED, "freed": "kept", "seed": 0, **options}
    return OwnedWeights(body, root, list(claims), **usual)  # type: ignore[arg-type]


def claimed(trunk: OwnedWeights) -> Claim:
    """What it holds, as `services.patch.older` gives it to those who come later."""
    bits = {name: trunk.values.get_buffer(key(name) + KEPT).clone() for name in trunk.weights}
    values = {name: trunk.values.get_parameter(key(name)).detach() for name in trunk.weights}
    return Claim(bits, {name: held[from_bytes(bits[name], len(held))] for name, held in values.items()})


def line(body: Backbone, root: Root, tasks: int) -> list[Claim]:
    claims: list[Claim] = []
    for task in range(tasks):
        trunk = owned(body, root, claims, freed="reinitialised", seed=task)
        trunk.prune()
        claims.append(claimed(trunk))
    return claims


def test_bits_come_back() -> None:
    for count in (0, 1, 8, 13):
        mask = torch.arange(count) % 3 == 0
        packed = to_bytes(mask)
        assert packed.dtype == torch.uint8
        assert len(packed) == -(-count // 8)
        assert torch.equal(from_bytes(packed, count), mask)


def test_owners_are_disjoint_and_have_exactly_their_quota(body: Backbone, root: Root) -> None:
    maps = owners(root, line(body, root, 3))
    for name, owner in maps.items():
        assert owner.dtype == torch.int8
        free = owner.numel()
        for number in range(1, 5):  # one number an entry: disjoint, and with what is free all there is
            kept = int((owner == number).sum())
            assert kept == quota(free, PRUNED) == int((1 - PRUNED) * free)
            free -= kept
        assert free == int((owner == 0).sum())
        assert owner.shape == body.state_dict()[name].shape


def test_what_is_kept_is_never_smaller_than_what_is_freed(body: Backbone, root: Root) -> None:
    for name in prunable(body):
        size, kept = body.state_dict()[name].abs(), root.kept[name]
        assert size[kept].min() >= size[~kept].max()
    trunk = owned(body, root, freed="reinitialised")
    before = {name: trunk.values.get_parameter(key(name)).detach().abs().clone() for name in trunk.weights}
    trunk.prune()
    for name, size in before.items():
        mask = trunk.mask(name)
        assert size[mask].min() >= size[~mask].max()


def test_of_equal_values_the_first_are_kept() -> None:
    assert strongest(torch.full((7,), -2.0), 3).tolist() == [True] * 3 + [False] * 4
    assert strongest(torch.tensor([1.0, -1.0, 3.0, 1.0]), 2).tolist() == [True, False, True, False]


def test_keeping_everything_changes_nothing(body: Backbone, root: Root) -> None:
    trunk = owned(body, root, pruned=0.0, freed="kept")
    before = dict(trunk.effective())
    trunk.prune()
    for name, weight in trunk.effective():
        assert torch.equal(weight, before[name])
        assert torch.equal(weight, body.state_dict()[name])  # the dense body's own


def test_a_full_lineage_is_refused(body: Backbone, root: Root) -> None:
    first = owned(body, root, pruned=0.0)
    first.prune()
    with pytest.raises(InputError, match=r"Only 0\.0% .* too few .* --backbone"):
        owned(body, root, [claimed(first)])
    with pytest.raises(InputError, match="too few"):
        owned(body, root, pruned=1.0)


@pytest.mark.parametrize("freed", ["kept", "zeroed", "reinitialised"])
def test_free_weights_start_as_they_are_asked_to(body: Backbone, root: Root, freed: str) -> None:
    claims = line(body, root, 1)
    trunk = owned(body, root, claims, freed=freed)
    for name, weight in trunk.effective():
        free, dense = owners(root, claims)[name] == 0, body.state_dict()[name]
        start = weight.detach()[free]
        assert torch.equal(start, dense[free]) == (freed == "kept")
        assert bool(start.any()) == (freed != "zeroed")


def test_negative_values_outlive_pruning(body: Backbone, root: Root) -> None:
    trunk = owned(body, root)
    for name in trunk.weights:
        trunk.values.get_parameter(key(name)).data.sub_(1.0)  # all of them below zero
    trunk.prune()
    trunk.restore()
    for name, weight in trunk.weights.items():
        values = trunk.values.get_parameter(key(name))
        assert int((values < 0).sum()) == weight.kept


def test_what_a_later_owner_or_the_dense_body_holds_is_not_seen(body: Backbone, root: Root) -> None:
    first = owned(body, root)
    first.prune()
    noise = Root(root.kept, {name: torch.randn_like(values) for name, values in root.freed.items()})
    again = owned(body, noise)
    again.load_state_dict(first.state_dict())
    for (name, one), (_, other) in zip(first.effective(), again.effective(), strict=True):
        assert torch.equal(one, other), name


Breaker = Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer]
BREAKERS: dict[str, Breaker] = {
    "decay": lambda tensors: torch.optim.AdamW(tensors, lr=0.1, weight_decay=0.5),
    "momentum": lambda tensors: torch.optim.SGD(tensors, lr=0.1, momentum=0.9),
    "moments": lambda tensors: torch.optim.Adam(tensors, lr=0.1),
}


@pytest.mark.parametrize("breaker", BREAKERS)
def test_no_optimizer_that_lives_on_moves_what_others_own(body: Backbone, root: Root, breaker: str) -> None:
    """One optimizer for all stages, never zeroed gradients, and clipping in place between the steps."""
    claims = line(body, root, 1)
    trunk = owned(body, root, claims)
    others = {name: owner > 0 for name, owner in owners(root, claims).items()}
    before = {name: weight.detach() for name, weight in trunk.effective()}
    optimizer = BREAKERS[breaker](trunk.parameters())
    _descend(trunk, optimizer)
    trunk.prune()
    _descend(trunk, optimizer)
    for name, weight in trunk.effective():
        assert torch.equal(weight[others[name]], before[name][others[name]])
        assert not torch.equal(weight[~others[name]], before[name][~others[name]])


@pytest.mark.parametrize("breaker", BREAKERS)
def test_masked_gradients_alone_would_not_do(breaker: str) -> None:
    """The control: the same optimizers on one dense weight whose owned part gets no gradient."""
    weight = nn.Parameter(torch.randn(20, generator=torch.Generator().manual_seed(0)))
    mine = torch.arange(20) < 10
    optimizer = BREAKERS[breaker]([weight])
    weight.square().sum().backward()  # a stage in which all of it was free
    optimizer.step()
    before = weight.detach().clone()
    for _ in range(3):
        optimizer.zero_grad()
        weight.square().sum().backward()
        assert weight.grad is not None
        weight.grad *= mine
        optimizer.step()
    assert not torch.equal(weight[~mine], before[~mine])


def _descend(trunk: OwnedWeights, optimizer: torch.optim.Optimizer) -> None:
    for _ in range(3):
        sum(weight.square().sum() for _, weight in trunk.effective()).backward()  # type: ignore[union-attr]
        optimizer.step()
        with torch.no_grad():
            for values in trunk.parameters():
                values.clamp_(-0.01, 0.01)


def test_a_held_body_stays_pruned_under_decay_and_momentum(root: Root) -> None:
    body = tiny_body().requires_grad_(True)
    root.hold(body)
    optimizer = torch.optim.AdamW(body.parameters(), lr=0.1, weight_decay=0.5, fused=True)
    items = torch.randint(4, 40, (3, 9), generator=torch.Generator().manual_seed(0))
    for _ in range(3):
        optimizer.zero_grad()
        body(items)[-1].square().sum().backward()
        optimizer.step()
    for name, kept in root.kept.items():
        weight = body.state_dict()[name]
        assert not weight[~kept].any()
        assert bool(weight[kept].all())


def test_the_whole_trunk_gives_the_same_bits(body: Backbone, root: Root) -> None:
    trunk = owned(body, root, line(body, root, 2), norms=True, biases=True)
    trunk.prune()
    items = torch.randint(4, 40, (3, 9), generator=torch.Generator().manual_seed(0))
    levels: list[list[Tensor]] = [each.view(body)(items) for each in (trunk, trunk.whole(body))]
    assert all(torch.equal(one, other) for one, other in zip(*levels, strict=True))


@pytest.mark.parametrize(
    ("norms", "biases", "copied"), [(False, False, 0), (True, False, 8), (True, True, 12)]
)
def test_norms_and_biases_are_one_s_own_where_asked_for(
    body: Backbone, root: Root, norms: bool, biases: bool, copied: int
) -> None:
    trunk = owned(body, root, norms=norms, biases=biases)
    assert len(trunk.copies.tensors()) == copied  # two blocks: two norms of two vectors, two biases
