"""Recommendation keeps the contract of task kinds and knows its own corners."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.sparse import csr_matrix

from peter import task
from peter.errors import InputError
from peter.tasks import _ridge
from peter.testing import TaskKindContract

kind = task.kind("recommendation")
BASKETS = [("a", "b"), ("a", "b", "c"), ("e", "f"), ("a", "c"), ("d", "e", "f")]


class TestSoftmax(TaskKindContract):
    kind = kind
    labels = BASKETS * 12
    foreign = "chocolate"
    hopeless = [("a",)] * 9


class TestSampled(TestSoftmax):
    kind = replace(kind, objective="sampled", sampler="frequency")
    hopeless: list[tuple[str, ...]] = []  # noqa: RUF012


class TestPairs(TestSoftmax):
    kind = replace(kind, objective="bpr", sampler="lambdafm", negatives=4)


class TestNarrow(TestSoftmax):
    kind = replace(kind, factors=2)


def outputs_of(rows: list[list[float]]) -> torch.Tensor:
    return torch.tensor(rows)


def plain(outputs: torch.Tensor, targets: torch.Tensor) -> dict[str, float]:
    found = kind.metrics(outputs, targets, torch.ones(1, len(targets)))
    return {name: value.item() for name, value in found.items()}


class TestLabels:
    def test_targets_are_rows_of_the_catalogue(self) -> None:
        schema = kind.schema([("b", "a"), ("10",), ("9", "a")])
        assert schema == {"items": ["10", "9", "a", "b"]}
        assert kind.encode([("b", "a"), ("10",), ()], schema).tolist() == [[3, 2], [0, -1], [-1, -1]]

    @pytest.mark.parametrize(
        ("column", "labels", "fits"),
        [
            ("item_id", [("a", "b"), ("a",)], True),
            ("item_id", [("a",), ("b",)], False),  # perhaps one class each
            ("genre", [("a", "b"), ("a",)], False),  # perhaps tags
        ],
    )
    def test_several_items_a_user_are_plainly_of_this_kind(self, column, labels, fits) -> None:
        assert kind.fits(column, labels) is fits

    @pytest.mark.parametrize("name", ["negatives", "factors", "top"])
    def test_settings_that_cannot_be_are_refused(self, name: str) -> None:
        with pytest.raises(InputError, match=name):
            replace(kind, **{name: 0})


class TestMetrics:
    def test_by_hand_with_a_user_s_other_items_left_out(self) -> None:
        outputs = outputs_of([[5.0, 4.0, 3.0, 2.0, 1.0, 0.0]] * 2)
        found = plain(outputs, torch.tensor([[0, 1, 5], [2, -1, -1]]))
        # user 0: items 0 and 1 are first once the other is left out, item 5 is fourth; user 1: third
        first = (1 + 1 + 1 / math.log2(5)) / 3
        assert found["ndcg@10"] == pytest.approx((first + 1 / 2) / 2)
        assert found["mrr@5"] == pytest.approx(((1 + 1 + 1 / 4) / 3 + 1 / 3) / 2)
        assert found["hit@5"] == found["hit@10"] == 1

    def test_random_scores_get_what_chance_gives(self) -> None:
        generator = torch.Generator().manual_seed(0)
        items, users = 500, 3000
        outputs = torch.rand(users, items, generator=generator)
        targets = torch.rand(users, items, generator=generator).topk(3).indices
        found = plain(outputs, targets)
        ranks = torch.arange(1, 11)
        chance = float((1 / torch.log2(ranks + 1.0)).sum())
        assert found["hit@10"] == pytest.approx(10 / (items - 2), abs=0.003)
        assert found["ndcg@10"] == pytest.approx(chance / (items - 2), abs=0.002)
        assert found["uni100_hit@10"] == pytest.approx(0.1, abs=0.01)
        assert found["uni100_ndcg@10"] == pytest.approx(chance / 100, abs=0.005)

    def test_a_perfect_scorer_gets_one_and_the_worst_nothing(self) -> None:
        targets = torch.tensor([[3, 150], [7, -1]])
        best = torch.zeros(2, 200).scatter(1, targets.clamp(min=0), 1.0)
        best[1, 0], best[1, 7] = 0, 1
        for outputs, gain in ((best, 1.0), (-best, 0.0)):
            told = plain(100 * outputs, targets)
            assert (told.pop("log_loss") < 1) == bool(gain)
            assert set(told.values()) == {gain}

    def test_the_log_loss_is_what_is_descended(self) -> None:
        generator = torch.Generator().manual_seed(0)
        outputs = torch.randn(30, 20, generator=generator)
        targets = torch.rand(30, 20, generator=generator).topk(3).indices
        targets[::2, 2] = -1
        assert plain(outputs, targets)["log_loss"] == pytest.approx(float(kind.loss(outputs, targets)))


class TestFit:
    def users(self, count: int = 400) -> tuple[torch.Tensor, torch.Tensor, dict]:
        """Features [B, 12] whose two directions decide which of 40 items a user has."""
        generator = torch.Generator().manual_seed(0)
        taste = torch.randn(count, 2, generator=generator)
        items = torch.randn(2, 40, generator=generator)
        features = torch.cat([taste, torch.randn(count, 10, generator=generator)], 1)
        popularity = torch.linspace(-1, 1, 40)
        chances = (2 * taste @ items + popularity).softmax(1)
        targets = chances.multinomial(4, generator=generator)
        return features, targets, {"items": [f"{at:02}" for at in range(40)]}

    def test_it_beats_popularity_and_its_outputs_are_logits(self) -> None:
        features, targets, schema = self.users()
        train, valid, test = torch.arange(400).split([240, 80, 80])
        users = (features[train], targets[train]), (features[valid], targets[valid])
        [found] = kind.fit_linear([users], schema)
        outputs = features[test] @ found.down.T @ found.up.T + found.bias
        prior = kind.prior(targets[train], schema).expand_as(outputs)
        assert plain(outputs, targets[test])["ndcg@10"] > plain(prior, targets[test])["ndcg@10"] + 0.1
        assert kind.loss(outputs, targets[test]) < kind.loss(prior, targets[test]) - 0.2
        assert kind.calibrate(outputs, targets[test])["temperature"] == pytest.approx(1, abs=0.25)

    def test_more_features_than_users_give_the_same_as_their_directions(self) -> None:
        """The dual form: features padded with copies of nothing new."""
        features, targets, schema = self.users(60)
        mixing = torch.linalg.qr(torch.randn(200, 12, generator=torch.Generator().manual_seed(1)))[0]
        wide = features @ mixing.T  # [60, 200], the same geometry
        narrow, dual, sparse = (
            kind.fit_linear([((x[:40], targets[:40]), (x[40:], targets[40:]))], schema)[0]
            for x in (features, wide, csr_matrix(wide.numpy()))
        )
        answers = [
            x @ found.down.T @ found.up.T + found.bias
            for x, found in ((features, narrow), (wide, dual), (wide, sparse))
        ]
        torch.testing.assert_close(answers[1], answers[0], rtol=1e-3, atol=1e-3)
        torch.testing.assert_close(answers[2], answers[0], rtol=1e-3, atol=1e-3)

    @pytest.mark.parametrize("sparse", [False, True])
    def test_large_tables_keep_to_their_largest_directions(self, monkeypatch, sparse: bool) -> None:
        generator = np.random.default_rng(0)
        features = generator.normal(size=(80, 3)) @ generator.normal(size=(3, 30)) + 1
        exact = _ridge.directions(features)
        monkeypatch.setattr(_ridge, "EXACT", 20)
        monkeypatch.setattr(_ridge, "LARGEST", 3)
        found = _ridge.directions(csr_matrix(features) if sparse else features)
        np.testing.assert_allclose(found.power, exact.power, rtol=1e-6)
        for each in (found, exact):
            again = each.places @ each.maps(np.eye(3)) + each.mean
            np.testing.assert_allclose(again, features, atol=1e-6)

    def test_reduced_rank_is_the_best_of_its_rank(self) -> None:
        """Against the definition: of all maps of rank 2, the least penalised error."""
        generator = np.random.default_rng(0)
        x, y = generator.normal(size=(50, 6)), generator.normal(size=(50, 5))
        x, y, strength = x - x.mean(0), y - y.mean(0), 3.0
        found = _ridge.directions(x)
        up, down = _ridge.reduced_rank(found, found.places.T @ y, strength, 2)

        def cost(up, down) -> float:
            return float(((y - x @ down.T @ up.T) ** 2).sum() + strength * ((up @ down) ** 2).sum())

        ours = cost(up, down)
        full = np.linalg.solve(x.T @ x + strength * np.eye(6), x.T @ y)
        a = _ridge.reduced_rank(found, found.places.T @ y, strength, 5)
        np.testing.assert_allclose((a[0] @ a[1]).T, full, atol=1e-8)
        for _ in range(200):
            step = generator.normal(scale=0.05, size=up.shape), generator.normal(scale=0.05, size=down.shape)
            assert cost(up + step[0], down + step[1]) > ours

    def test_no_validation_users_ask_for_caution(self) -> None:
        features, targets, schema = self.users()
        none = features[:0], targets[:0]
        users = features, targets
        [cautious] = kind.fit_linear([(users, none)], schema)
        [chosen] = kind.fit_linear([(users, users)], schema)
        assert (cautious.up @ cautious.down).norm() < (chosen.up @ chosen.down).norm()

    def test_nothing_to_see_gives_popularity(self) -> None:
        """Users without events have no features at all."""
        _, targets, schema = self.users(50)
        nothing = torch.zeros(50, 7)
        users = nothing, targets
        [found] = kind.fit_linear([(users, users)], schema)
        assert found.down is not None
        assert not (found.up @ found.down).any()
        torch.testing.assert_close(found.bias, kind.prior(targets, schema))


class TestLearner:
    @pytest.mark.parametrize("objective", ["softmax", "sampled", "bpr"])
    @pytest.mark.parametrize("sampler", ["uniform", "frequency", "lambdafm"])
    def test_descent_puts_a_user_s_items_first(self, objective: str, sampler: str) -> None:
        chosen = replace(kind, objective=objective, sampler=sampler, negatives=6)
        generator = torch.Generator().manual_seed(0)
        targets = torch.rand(20, 30, generator=generator).topk(3).indices
        outputs = torch.zeros(20, 30, requires_grad=True)
        loss = chosen.learner(targets, {"items": [str(at) for at in range(30)]}, 0)
        optimizer = torch.optim.Adam([outputs], lr=0.1)
        for _ in range(150):
            optimizer.zero_grad()
            loss(outputs, targets).backward()
            optimizer.step()
        assert plain(outputs.detach(), targets)["ndcg@10"] > 0.99

    def test_a_user_who_has_everything_breaks_nothing(self) -> None:
        targets = torch.tensor([[0, 1], [0, -1]])
        for objective in ("sampled", "bpr"):
            loss = replace(kind, objective=objective).learner(targets, {"items": ["a", "b"]}, 0)
            assert loss(torch.zeros(2, 2), targets).isfinite()


class TestProfile:
    def test_known_items_are_left_out(self) -> None:
        short = replace(kind, top=2)
        schema = short.schema([("a", "b"), ("c", "d")])
        outputs = outputs_of([[3.0, 2.0, 1.0, 0.0]] * 3)
        told = short.profile(outputs, schema, {}, [("a",), (), ("a", "c", "d")])
        assert told.values == [["b", "c"], ["a", "b"], ["b"]]
        shares = outputs[0].double().softmax(0)
        assert told.probabilities == pytest.approx(
            [float(shares[1:3].sum() / shares[1:].sum()), float(shares[:2].sum()), 1.0]
        )
        assert [len(each) for each in told.details["chances"]] == [2, 2, 1]

    def test_who_has_everything_gets_nothing(self) -> None:
        schema = kind.schema([("a", "b")])
        told = kind.profile(torch.zeros(1, 2), schema, {}, [("a", "b")])
        assert (told.values, told.probabilities) == ([[]], [0])

    def test_a_known_item_is_no_answer(self) -> None:
        assert kind.observed(("a",), kind.schema([("a", "b")])) is None
