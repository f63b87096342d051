"""Several ways to answer: each answered out of fold, and each believed as far as it is worth."""

import pytest
import torch
from torch import Tensor
from torch.nn.functional import one_hot

from peter.methods._pool import FOLDS, Part, pooled, solved
from peter.task import LinearMap
from peter.testing import MethodContract

SETTING = MethodContract().setting()
TRAIN, VALID, FEATURES = 300, 100, 6


@pytest.fixture
def draw() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@pytest.fixture
def targets(draw: torch.Generator) -> Tensor:
    return torch.randint(2, (TRAIN + VALID,), generator=draw)


def part(outputs: Tensor) -> Part:
    """One that says this [B, K] of training and then validation users."""
    return Part(LinearMap(torch.zeros(2, 1), torch.zeros(2)), *outputs.split([TRAIN, VALID]))


def shares(parts: list[Part], targets: Tensor) -> list[float]:
    return pooled(parts, targets[:TRAIN], targets[TRAIN:], SETTING)


def right(targets: Tensor, draw: torch.Generator, strength: float = 2.0) -> Part:
    """Right in most cases, and as sure as that."""
    wrong = torch.rand(len(targets), generator=draw) > torch.tensor(strength).sigmoid()
    return part(strength * one_hot(torch.where(wrong, 1 - targets, targets), 2))


def noise(draw: torch.Generator) -> Part:
    return part(torch.randn(TRAIN + VALID, 2, generator=draw))


class TestPooled:
    def test_one_that_is_right_outweighs_one_that_knows_nothing(
        self, targets: Tensor, draw: torch.Generator
    ) -> None:
        good, useless = shares([right(targets, draw), noise(draw)], targets)
        assert good > 0.7
        assert 0 <= useless < 0.15

    def test_nobody_is_believed_less_than_not_at_all(self, targets: Tensor, draw: torch.Generator) -> None:
        """Not even one that is wrong on purpose, of which the opposite would be right."""
        against = right(1 - targets, draw)
        good, contrary, useless = shares([right(targets, draw), against, noise(draw)], targets)
        assert good > 0.7
        assert contrary == 0
        assert useless >= 0
        assert shares([against], targets) == [0]

    def test_a_perfect_one_dominates(self, targets: Tensor, draw: torch.Generator) -> None:
        perfect, good, useless = shares(
            [part(3.0 * one_hot(targets, 2)), right(targets, draw), noise(draw)], targets
        )
        assert perfect > 1
        assert perfect > 3 * good
        assert perfect > 10 * useless

    def test_two_that_know_different_things_are_both_believed(
        self, targets: Tensor, draw: torch.Generator
    ) -> None:
        both = shares([right(targets, draw, 1.0), right(targets, draw, 1.0)], targets)
        assert min(both) > 0.5

    def test_one_that_is_too_sure_is_believed_less(self, targets: Tensor, draw: torch.Generator) -> None:
        honest = right(targets, draw)
        bold = Part(honest.found, 10 * honest.train, 10 * honest.valid)
        assert shares([bold], targets)[0] == pytest.approx(shares([honest], targets)[0] / 10, rel=0.02)

    def test_the_pool_is_no_worse_than_any_of_its_parts(self, targets: Tensor, draw: torch.Generator) -> None:
        parts = [right(targets, draw, 1.5), right(targets, draw, 0.5), noise(draw)]
        outputs = torch.stack([torch.cat([part.train, part.valid]) for part in parts])  # [n, B, K]
        weights = torch.tensor(shares(parts, targets))
        together = SETTING.kind.loss(torch.einsum("n,nbk->bk", weights, outputs), targets)
        assert all(together <= SETTING.kind.loss(alone, targets) + 1e-4 for alone in outputs)


@pytest.mark.parametrize("sparse", [True, False])
class TestSolved:
    def world(self, targets: Tensor, draw: torch.Generator, sparse: bool):
        """(train, valid), the first feature telling most of the answer."""
        features = torch.randn(len(targets), FEATURES, generator=draw)
        features[:, 0] += 2 * targets
        halves = zip(features.split([TRAIN, VALID]), targets.split([TRAIN, VALID]), strict=True)
        return [(csr(x) if sparse else x, y) for x, y in halves]

    def one_strength(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(f"{type(SETTING.kind).__module__}.STRENGTHS", (0.3,))

    def test_a_fold_is_answered_by_the_others(
        self, targets: Tensor, draw: torch.Generator, sparse: bool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Whatever its own labels are: turned round, they change the answers of all others alone."""
        self.one_strength(monkeypatch)  # which its own labels help to choose
        (features, answers), valid = self.world(targets, draw, sparse)
        before = solved((features, answers), valid, SETTING)
        for fold in range(FOLDS):
            mine = torch.arange(TRAIN) % FOLDS == fold
            after = solved((features, torch.where(mine, 1 - answers, answers)), valid, SETTING)
            assert torch.equal(before.train[mine], after.train[mine])
            changed = (before.train != after.train).any(1)
            assert changed[~mine].all()

    def test_each_answer_is_that_of_a_fit_without_its_fold(
        self, targets: Tensor, draw: torch.Generator, sparse: bool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.one_strength(monkeypatch)
        (features, answers), valid = self.world(targets, draw, sparse)
        got = solved((features, answers), valid, SETTING)
        rest = [user for user in range(TRAIN) if user % FOLDS]
        [found] = SETTING.kind.fit_linear([((features[rest], answers[rest]), valid)], SETTING.schema)
        dense = torch.from_numpy(features.toarray()) if sparse else features
        torch.testing.assert_close(
            got.train[::FOLDS], dense[::FOLDS].float() @ found.up.T + found.bias, rtol=1e-4, atol=1e-5
        )
        [whole] = SETTING.kind.fit_linear([((features, answers), valid)], SETTING.schema)
        assert torch.equal(got.found.up, whole.up)
        inside = (dense.float() @ whole.up.T + whole.bias, got.train)
        sure, honest = (SETTING.kind.loss(outputs, answers) for outputs in inside)
        assert sure < honest  # what users that a map was solved on would make believe

    def test_training_users_choose_the_strength_too(
        self, targets: Tensor, draw: torch.Generator, sparse: bool
    ) -> None:
        """Validation users that a bold fit suits by chance do not decide alone."""
        (_, answers), (_, few) = self.world(targets, draw, sparse)
        noise = torch.randn(TRAIN, FEATURES, generator=draw)
        rest = noise[:3].clone()  # three users whom a fit to noise would answer rightly
        rest[:, 0] = 50 * (2.0 * few[:3] - 1)
        noise[:, 0] += 0.1 * answers
        if sparse:
            noise, rest = csr(noise), csr(rest)
        [alone] = SETTING.kind.fit_linear([((noise, answers), (rest, few[:3]))], SETTING.schema)
        together = solved((noise, answers), (rest, few[:3]), SETTING).found
        assert together.up.norm() < 0.7 * alone.up.norm()


def csr(features: Tensor):
    from scipy.sparse import csr_matrix

    return csr_matrix(features.numpy())
