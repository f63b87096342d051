"""Two views of a user are brought together, without all users becoming one."""

import dataclasses
import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from sklearn.linear_model import LogisticRegression
from test_pretrain import ITEMS, equal, fresh, markov, ragged, run
from torch import Tensor

from peter.config import PretrainConfig
from peter.data.histories import TCL, Histories
from peter.errors import InputError
from peter.nn.backbone import Backbone
from peter.nn.graft import DropoutGraft
from peter.testing import tiny_body, toy_users
from peter.training import contrast
from peter.training.contrast import Contrast, View, info_nce, siamese, spread, state
from peter.training.objectives import objective
from peter.training.pretrain import pretrain
from peter.training.pretrain_model import PretrainModel

CONFIG = PretrainConfig(
    objective="contrastive", epochs=3, batch_size=32, learning_rate=0.01, threads=1, patience=99
)
JOINT = dataclasses.replace(CONFIG, objective="next-item+contrastive")


def body(architecture: str = "sasrec", **shape: Any) -> Backbone:
    shape = {"channels": 16, "max_length": 12, **shape}
    return tiny_body(ITEMS, architecture=architecture, **shape).requires_grad_(True)


def windows(users: int = 40) -> Tensor:
    return ragged(users, 1).windows(12).items


def views(items: Tensor, config: PretrainConfig = CONFIG, seed: int = 0) -> tuple[View, ...]:
    return objective(config, True).batch(items, ITEMS, torch.Generator().manual_seed(seed)).views


def descended() -> tuple[float, float]:
    """How far projections lie apart after a while, and the loss."""
    learner, items = body(), windows(400)
    head = Contrast(learner, CONFIG, 1.0)
    optimizer = torch.optim.AdamW([*learner.parameters(), *head.parameters()], lr=0.01, weight_decay=0)
    for step in range(300):
        optimizer.zero_grad()
        loss = head(learner, views(items[step % 8 :: 8], seed=step))
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        unit = F.normalize(head.eval().projector(state(learner, items)))
    return float(unit.std(0).mean()) * 16**0.5, loss.item()


class TestLosses:
    def test_they_are_what_their_names_say(self) -> None:
        generator = torch.Generator().manual_seed(0)
        one, two = torch.randn(2, 5, 8, generator=generator)
        cosines = [float(F.cosine_similarity(p, z, dim=0)) for p, z in zip(one, two, strict=True)]
        assert float(siamese(one, two)) == pytest.approx(-sum(cosines) / 5, abs=1e-6)
        scores = torch.stack([F.cosine_similarity(z, two) for z in one]) / 0.2  # [5, 5]
        wanted = -(scores.log_softmax(1).diag() + scores.log_softmax(0).diag()).mean() / 2
        assert float(info_nce(one, two, 0.2)) == pytest.approx(float(wanted), abs=1e-5)

    def test_no_gradient_reaches_the_target(self) -> None:
        predicted, target = torch.randn(4, 8).requires_grad_(True), torch.randn(4, 8).requires_grad_(True)
        siamese(predicted, target).backward()
        assert predicted.grad is not None
        assert target.grad is None

    def test_each_view_predicts_the_other(self) -> None:
        """Half the sum of both terms, with the gradients of these."""
        learner, seen = body(), views(windows())
        head = Contrast(learner, CONFIG, 2.0)
        mine = head(learner, seen)
        rate = CONFIG.view_dropout
        states = [state(learner, view.items, DropoutGraft(rate, view.seed)) for view in seen]
        one, two = map(head.projector, states)
        terms = siamese(head.predictor(one), two), siamese(head.predictor(two), one)
        torch.testing.assert_close(mine, sum(terms))
        weights = list(learner.parameters())
        whole, *halves = (torch.autograd.grad(loss, weights, retain_graph=True) for loss in (mine, *terms))
        for together, *parts in zip(whole, *halves, strict=True):
            torch.testing.assert_close(together, sum(parts), rtol=1e-4, atol=1e-6)
            assert all(part.any() for part in parts)

    @pytest.mark.parametrize("users", [2, 8, 64])
    def test_info_nce_of_strangers_is_the_logarithm_of_how_many(self, users: int) -> None:
        generator = torch.Generator().manual_seed(0)
        one, two = torch.randn(2, users, 4096, generator=generator)
        assert float(info_nce(one, two, 1.0)) == pytest.approx(math.log(users), abs=0.05)
        assert float(info_nce(one[:1].expand(users, -1), two, 0.1)) == pytest.approx(math.log(users), abs=0.3)


class TestViews:
    def test_dropout_alone_makes_two_of_the_same_events(self) -> None:
        items = windows()
        one, two = views(items)
        assert torch.equal(one.items, items)
        assert torch.equal(two.items, items)
        assert one.seed != two.seed

    @pytest.mark.parametrize("architecture", ["nextitnet", "sasrec"])
    def test_the_same_batch_twice_differs_with_dropout_and_not_without(self, architecture: str) -> None:
        learner, items = body(architecture), windows()
        head = Contrast(learner, CONFIG, 1.0)
        losses = [head(learner, views(items, seed=seed)).item() for seed in (0, 1)]
        assert losses[0] != losses[1]
        assert torch.equal(state(learner, items), state(learner, items))

    def test_explicit_ones_are_drawn_for_each_user(self) -> None:
        config = dataclasses.replace(CONFIG, augment=("mask", "crop"), augment_share=0.5)
        items = torch.arange(4, 12).repeat(400, 1)
        one, two = views(items, config)
        cropped = (one.items == 0).any(1)
        assert torch.equal(cropped, ~(one.items == 1).any(1))
        assert 0.4 < float(cropped.float().mean()) < 0.6
        assert not torch.equal(one.items, two.items)

    def test_padding_tells_nothing_and_the_token_stands_last(self) -> None:
        learner, items = body(), windows()
        padded = F.pad(items, (5, 0))
        torch.testing.assert_close(state(learner, padded), state(learner, items))
        before = state(learner, items)
        with torch.no_grad():
            learner.item_embedding.weight[TCL, :8] += 1
        assert not torch.allclose(state(learner, items), before, atol=0.1)

    def test_a_user_does_not_depend_on_the_others(self) -> None:
        model = fresh()
        list(pretrain(model, ragged(80, 1), ragged(30, 2), CONFIG))
        items = windows()
        alone = torch.cat([state(model.body, row[None]) for row in items])
        torch.testing.assert_close(state(model.body, items), alone, rtol=1e-4, atol=1e-5)

    @pytest.mark.parametrize("loss_name", ["siamese", "infonce"])
    def test_a_user_alone_counts_nothing_while_training_and_is_scored_afterwards(
        self, loss_name: str
    ) -> None:
        learner = body()
        head = Contrast(learner, dataclasses.replace(CONFIG, contrast=loss_name), 1.0)
        loss = head(learner, views(windows()[:1]))
        loss.backward()
        assert loss.item() == 0
        assert math.isfinite(head.eval()(learner, views(windows()[:1])).item())


class TestCollapse:
    """CLUE's figure 6, the deviation being SimSiam's: of what the loss compares."""

    @pytest.mark.slow
    def test_users_stay_apart_unless_the_target_learns_too(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Without the predictor alone, batch normalisation still keeps so few users apart."""
        assert descended()[0] > 0.3
        monkeypatch.setattr(contrast, "siamese", lambda one, two: -F.cosine_similarity(one, two).mean())
        deviation, loss = descended()
        assert deviation < 0.1
        assert loss < -0.99

    def test_the_rank_sees_a_line_that_the_deviation_does_not(self, monkeypatch: pytest.MonkeyPatch) -> None:
        generator = torch.Generator().manual_seed(0)
        line = torch.randn(1000, 1, generator=generator) * torch.ones(16)
        states = {
            "one": torch.ones(1000, 16),
            "line": line,
            "ball": torch.randn(1000, 16, generator=generator),
        }
        for name, found in states.items():
            monkeypatch.setattr(contrast, "state", lambda body, items, found=found: found)
            told = spread(body(), torch.ones(1, 12, dtype=torch.int64))
            wanted = {"one": (0, None), "line": (1, 1), "ball": (1, 16)}[name]
            assert told["deviation"] == pytest.approx(wanted[0], abs=0.05)
            if wanted[1]:
                assert told["rank"] == pytest.approx(wanted[1], abs=0.1)


class TestPretraining:
    @pytest.mark.parametrize("architecture", ["nextitnet", "sasrec"])
    @pytest.mark.parametrize("loss_name", ["siamese", "infonce"])
    def test_the_loss_falls_and_the_spread_is_told(self, architecture: str, loss_name: str) -> None:
        config = dataclasses.replace(CONFIG, epochs=5, contrast=loss_name)
        reports = run(fresh(architecture=architecture), config)
        assert reports[-1].train_loss < reports[0].train_loss
        assert set(reports[0].metrics) == {"deviation", "rank"}
        assert all(report.best for report in reports)  # the last is kept

    @pytest.mark.slow
    def test_views_of_a_user_find_each_other_among_many(self) -> None:
        model = fresh(architecture="sasrec")
        config = dataclasses.replace(CONFIG, epochs=15, contrast="infonce", view_dropout=0.2)

        def share(learner: Backbone) -> float:
            items = ragged(64, 3).windows(10).items
            one, two = (F.normalize(state(learner, items, DropoutGraft(0.2, seed))) for seed in (1, 2))
            return float(((one @ two.T).argmax(1) == torch.arange(len(items))).float().mean())

        list(pretrain(model, ragged(200, 1), ragged(60, 2), config))
        assert share(model.body) > 10 / len(ragged(64, 3).windows(10).items)

    def test_a_weight_of_nought_is_next_item_alone_bit_for_bit(self) -> None:
        alone, joint, both = (fresh(architecture="sasrec") for _ in range(3))
        run(alone, dataclasses.replace(CONFIG, objective="next-item"))
        run(joint, dataclasses.replace(JOINT, contrast_weight=0.0))
        reports = run(both, JOINT)
        assert equal(alone, joint)
        assert not equal(alone, both)
        assert {"deviation", "rank", "hit@5"} <= set(reports[0].metrics)

    def test_a_body_that_looks_both_ways_learns_from_gaps_and_views(self) -> None:
        config = dataclasses.replace(CONFIG, objective="gap-fill+contrastive", epochs=2, augment=("crop",))
        reports = run(fresh(causal=False, architecture="sasrec"), config)
        assert {"deviation", "rank", "hit@5"} == set(reports[0].metrics) & {"deviation", "rank", "hit@5"}
        assert reports[1].train_loss < reports[0].train_loss

    def test_the_token_is_trained_by_it_and_by_nothing_else(self) -> None:
        before = fresh().body.item_table[TCL].clone()
        for name, moves in {"next-item": False, "contrastive": True, "next-item+contrastive": True}.items():
            model = fresh()
            run(model, dataclasses.replace(CONFIG, objective=name, epochs=1))
            assert torch.equal(model.body.item_table[TCL], before) != moves, name

    def test_no_head_is_left(self) -> None:
        model = fresh()
        run(model, JOINT)
        assert set(model.state_dict()) == set(fresh().state_dict())

    @pytest.mark.slow
    def test_a_probe_knows_more_than_on_a_random_body(self) -> None:
        """Users of four types, whose items differ: five seeds, each on users nobody learnt from.

        By InfoNCE: of SimSiam with dropout alone a probe learns nothing here.
        """

        def accuracy(model: PretrainModel, seed: int) -> float:
            users, types = toy_users(400, 4, ITEMS, 10, seed=100 + seed)
            with torch.no_grad():
                features = state(model.body, users.windows(10).items)
            probe = LogisticRegression(max_iter=3000).fit(features[:60], types[:60])
            return float(probe.score(features[60:], types[60:]))

        gains = []
        for seed in range(5):
            learnt, random = (fresh(seed=seed, architecture="sasrec") for _ in range(2))
            config = dataclasses.replace(
                CONFIG,
                epochs=10,
                batch_size=64,
                learning_rate=0.003,
                contrast="infonce",
                view_dropout=0.2,
                seed=seed,
            )
            train, valid = (
                toy_users(n, 4, ITEMS, 10, seed=at + 2 * seed)[0] for n, at in ((600, 0), (100, 1))
            )
            list(pretrain(learnt, train, valid, config))
            gains.append(accuracy(learnt, seed) - accuracy(random, seed))
        assert min(gains) > 0.05


class TestSettings:
    @pytest.mark.parametrize(
        ("settings", "sentence"),
        [
            ({"view_dropout": 0.0}, "give view_dropout=0.5 or augment=mask"),
            ({"batch_size": 1}, "give batch_size=2"),
            ({"augment": ("mask", "crp")}, "did you mean crop"),
            ({"objective": "next-item+gap-fill"}, "next-item[+]contrastive"),
            ({"objective": "contrastive+contrastive"}, "next-item[+]contrastive"),
            ({"objective": "next-item+contrastiv"}, "did you mean contrastive"),
        ],
    )
    def test_what_cannot_be_used_is_said(self, settings: dict[str, Any], sentence: str) -> None:
        with pytest.raises(InputError, match=sentence):
            objective(dataclasses.replace(CONFIG, **settings), True)

    @pytest.mark.parametrize("key", ["dropout", "view_dropout", "augment_share"])
    @pytest.mark.parametrize("share", [-0.1, 1.0, math.nan])
    def test_shares_are_from_nought_to_below_one(self, key: str, share: float) -> None:
        with pytest.raises(InputError, match=f"{key}="):
            PretrainConfig(**{key: share})  # type: ignore[arg-type]

    def test_it_takes_any_body_and_jointly_that_of_the_other(self) -> None:
        for causal in (True, False):
            objective(CONFIG, causal)
        objective(dataclasses.replace(CONFIG, objective="gap-fill+contrastive"), False)
        with pytest.raises(InputError, match="add --causal"):
            objective(JOINT, False)

    def test_a_window_of_one_has_no_room(self) -> None:
        with pytest.raises(InputError, match="max_length=50"):
            Contrast(body(max_length=1), CONFIG, 1.0)


def test_long_and_short_users_alike_are_read() -> None:
    """One event, a full window, more than a window: markov users and one who has hardly begun."""
    events = markov(1, 0.5, 0, length=30)
    users = Histories(torch.cat([events.items[:1], events.items]), torch.tensor([0, 1, 31]))
    found = state(body(), objective(CONFIG, True).windows(users, 12))
    assert found.shape == (4, 16)
    assert found.isfinite().all()
