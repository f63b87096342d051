"""Fitting: only the phase's tensors move, the best epoch is kept, and stopping early loses nothing."""

import dataclasses
import itertools
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from peter.config import FitConfig
from peter.data.histories import RESERVED, Histories
from peter.methods import ClosedForm, Examples, Gradient, Setting, method
from peter.nn.backbone import Backbone
from peter.progress import Silent
from peter.testing import ITEMS, MethodContract, fingerprint, tiny_body, toy_users
from peter.training import fit as fitting
from peter.training.checkpoint import Checkpoint
from peter.training.fit import EpochReport, fit, predict

CONFIG = FitConfig(epochs=4, batch_users=16, learning_rate=1e-2, weight_decay=0.5, threads=1)


class Linear(nn.Module):
    """A patch that says how many events a user has, in the only way it can."""

    def __init__(self) -> None:
        super().__init__()
        self.moved = nn.Parameter(torch.zeros(2))
        self.still = nn.Parameter(torch.ones(2))

    def forward(self, body: Backbone, histories: Histories) -> Tensor:
        return histories.lengths[:, None] * self.moved * self.still  # [B, 2]


def contract(name: str = "peter") -> MethodContract:
    made = MethodContract()
    made.method, made.config = method(name), CONFIG
    return made


def steps(patch: nn.Module, setting: Setting) -> Iterator[EpochReport]:
    chosen = contract()
    phases = chosen.method.phases(patch, setting, chosen.method.options())
    return fit(patch, phases, *chosen.examples(), setting, CONFIG, Silent())


class TestFrozenBody:
    def test_no_bit_of_it_moves_and_every_descending_tensor_does(self) -> None:
        """Under weight decay, which would pull at anything the optimizer can reach."""
        setting = contract().setting()
        patch = contract().build(setting)
        body = fingerprint(setting.body.state_dict())
        reports = steps(patch, setting)
        next(report for report in reports if report.phase == "patches")  # epoch 0: the start
        before = {name: tensor.detach().clone() for name, tensor in patch.named_parameters()}
        next(reports)
        next(reports)
        still = {name for name, tensor in patch.named_parameters() if torch.equal(tensor, before[name])}
        assert still == {"wide.weight", "wide.bias"}  # solved, then left alone
        assert fingerprint(setting.body.state_dict()) == body

    def test_a_body_that_could_move_is_refused(self) -> None:
        setting = contract().setting()
        setting.body.requires_grad_(True)
        with pytest.raises(AssertionError):
            next(steps(contract().build(setting), setting))


class TestGradient:
    def reports(self, patch: Linear, config: FitConfig = CONFIG, **changes: object) -> Iterator[EpochReport]:
        histories, _ = toy_users()
        examples = Examples(histories, (histories.lengths > 12).long())
        phase = dataclasses.replace(Gradient("lengths", [patch.moved]), **changes)  # type: ignore[arg-type]
        return fit(patch, [phase], examples, examples, contract().setting(), config, Silent())

    def test_only_its_parameters_move(self) -> None:
        patch = Linear()
        assert list(self.reports(patch))[-1].epoch == 4
        assert patch.moved.any()
        assert torch.equal(patch.still, torch.ones(2))
        assert not any(tensor.requires_grad for tensor in patch.parameters())

    def test_the_state_before_the_first_epoch_may_be_the_best(self) -> None:
        patch = Linear()
        reports = list(self.reports(patch, dataclasses.replace(CONFIG, learning_rate=1e4)))
        assert [report.best for report in reports] == [True, False, False, False, False]
        assert not patch.moved.any()

    def test_the_best_epoch_is_kept_when_the_caller_stops(self) -> None:
        patch = Linear()
        reports = self.reports(patch)
        seen = list(itertools.islice(reports, 3))
        reports.close()  # type: ignore[attr-defined]
        best = min(seen, key=lambda report: report.valid_score)
        again = next(self.reports(patch))  # epoch 0 of a new phase scores what was kept
        assert again.valid_score == best.valid_score

    def test_the_start_stands_until_an_epoch_is_surely_better(self) -> None:
        """A gain that resampled validation users do not agree about is none."""
        eager, wary = Linear(), Linear()
        gains = [report.best for report in self.reports(eager, dataclasses.replace(CONFIG, caution=0.0))]
        assert any(gains[1:])
        careful = dataclasses.replace(CONFIG, caution=1e6)
        assert [report.best for report in self.reports(wary, careful)] == [True] + [False] * 4
        assert eager.moved.any()
        assert not wary.moved.any()

    def test_a_schedule_holds_from_its_epoch_on(self) -> None:
        """Nothing moves any more where the rate is 0; the rate of the first epoch is that of the config."""
        patch, plain = Linear(), Linear()
        halted = dataclasses.replace(CONFIG, schedule="3:learning_rate=0", caution=0.0)
        scores = [report.valid_score for report in self.reports(patch, halted)]
        usual = [report.valid_score for report in self.reports(plain)]
        assert scores[:3] == usual[:3]
        assert scores[2] == scores[3] == scores[4] != usual[4]

    @pytest.mark.parametrize("setting", ["learning_rate", "weight_decay"])
    def test_a_schedule_from_the_first_epoch_is_the_setting_itself(self, setting: str) -> None:
        scheduled = dataclasses.replace(CONFIG, schedule=f"1:{setting}=0.3")
        itself = dataclasses.replace(CONFIG, **{setting: 0.3})
        runs = [
            [report.valid_score for report in self.reports(Linear(), config)]
            for config in (scheduled, itself, CONFIG)
        ]
        assert runs[0] == runs[1] != runs[2]

    def test_patience_ends_it(self) -> None:
        config = dataclasses.replace(CONFIG, learning_rate=1e4, epochs=50, patience=3)
        assert [report.epoch for report in self.reports(Linear(), config)] == [0, 1, 2, 3]

    def test_its_own_loss_and_hook_are_used(self) -> None:
        calls: list[int] = []
        patch = Linear()

        def loss(outputs: Tensor, targets: Tensor) -> Tensor:
            return (outputs - 1).square().mean()

        list(self.reports(patch, loss=loss, after_step=lambda: calls.append(1)))
        assert len(calls) == 4 * 6  # epochs x steps of 16 of 90 users

    def test_parts_of_a_batch_sum_to_its_gradient(self, monkeypatch: pytest.MonkeyPatch) -> None:
        whole, parts = Linear(), Linear()
        scores = [report.valid_score for report in self.reports(whole)]
        monkeypatch.setattr(fitting, "EVENTS", 40)
        assert [report.valid_score for report in self.reports(parts)] == pytest.approx(scores, rel=1e-4)

    def test_nobody_to_validate_on_keeps_the_start(self) -> None:
        histories, targets = toy_users()
        none = Examples(histories.select(targets[:0]), targets[:0])
        patch = Linear()
        phase = Gradient("lengths", [patch.moved])
        list(fit(patch, [phase], Examples(histories, targets), none, contract().setting(), CONFIG, Silent()))
        assert not patch.moved.any()


class TestLeaving:
    """A fit of the default method that is left after an epoch, and gone on with elsewhere."""

    CONFIG = dataclasses.replace(CONFIG, epochs=5, patience=9, caution=0.0)

    def setting(self) -> Setting:
        """With a loss that draws."""
        made = contract()
        made.kind_name = "recommendation"
        setting = made.setting()
        return dataclasses.replace(setting, kind=dataclasses.replace(setting.kind, objective="bpr"))  # type: ignore[type-var]

    def reports(
        self, setting: Setting, config: FitConfig, dropout: float = 0.0, saved: Checkpoint | None = None
    ) -> list[EpochReport]:
        made, way = contract(), method("peter")
        made.kind_name = "recommendation"
        options = way.options(dropout=dropout)
        patch = way.build(setting, options)
        phases, found = way.phases(patch, setting, options), []
        for report in fit(patch, phases, *made.examples(), setting, config, Silent(), saved):
            left = report.checkpoint()
            found.append(dataclasses.replace(report, checkpoint=lambda left=left: left))
        return found

    def told(self, reports: list[EpochReport]) -> list[tuple[float | None, ...]]:
        return [(report.epoch, report.train_loss, report.valid_score, report.kept) for report in reports]

    def test_a_schedule_of_dropout_is_dropout(self) -> None:
        setting = self.setting()
        scheduled = dataclasses.replace(self.CONFIG, schedule="1:dropout=0.5")
        asked: list[tuple[FitConfig, float]] = [(scheduled, 0.0), (self.CONFIG, 0.5), (self.CONFIG, 0.0)]
        one, other, none = (self.told(self.reports(setting, *chosen)) for chosen in asked)
        assert one == other != none

    def test_who_goes_on_by_other_settings_has_followed_a_schedule(self) -> None:
        """That schedule alone gives the same bits, also of what is drawn: dropout and negatives."""
        setting = self.setting()
        before = self.reports(setting, self.CONFIG, 0.3)
        donor = next(report for report in before if report.epoch == 2)
        changed = dataclasses.replace(self.CONFIG, schedule="3:dropout=0.1,3:learning_rate=0.02")
        rest = self.told(self.reports(setting, changed, 0.3, donor.checkpoint()))
        whole = self.told(self.reports(setting, changed, 0.3))
        assert rest == whole[-3:] != self.told(before)[-3:]
        assert whole[:-3] == self.told(before)[:-3]

    def test_patience_counts_epochs_before_it_was_left(self) -> None:
        setting = self.setting()
        stuck = dataclasses.replace(self.CONFIG, learning_rate=0.0, patience=2)
        first, second = (report for report in self.reports(setting, stuck) if report.epoch in (1, 2))
        assert [report.epoch for report in self.reports(setting, stuck, saved=first.checkpoint())] == [2]
        assert self.reports(setting, stuck, saved=second.checkpoint()) == []


def test_phases_run_in_order() -> None:
    calls: list[str] = []
    phases = [ClosedForm(name, lambda *_, name=name: calls.append(name)) for name in ("one", "two")]
    made = contract()
    reports = list(fit(Linear(), phases, *made.examples(), made.setting(), CONFIG, Silent()))
    assert calls == [report.phase for report in reports] == ["one", "two"]


def test_a_prediction_does_not_depend_on_how_it_is_cut() -> None:
    setting, (histories, _) = contract().setting(), toy_users()
    patch = contract("probe").fitted(setting)
    whole = predict(patch, setting.body, histories)
    torch.testing.assert_close(
        predict(patch, setting.body, histories, events=30), whole, rtol=1e-4, atol=1e-5
    )
    none = predict(patch, setting.body, histories.select(torch.empty(0, dtype=torch.long)))
    assert none.shape == (0, 2)


class TestLearning:
    """On users of hidden types, which the labels are."""

    TYPES, VOCABULARY = 4, 404

    def pretrained(self) -> Backbone:
        """A body that has seen next events for some seconds."""
        body = tiny_body(self.VOCABULARY, channels=16, max_length=20)
        histories, _ = toy_users(800, self.TYPES, self.VOCABULARY, 20, seed=5)
        items, generator = histories.windows(20).items, torch.Generator().manual_seed(0)
        head = nn.Linear(16, self.VOCABULARY)
        body.requires_grad_(True)
        optimizer = torch.optim.Adam([*body.parameters(), *head.parameters()], lr=1e-2)
        for _ in range(12):
            for rows in torch.randperm(len(items), generator=generator).split(100):
                known, following = items[rows, :-1], items[rows, 1:]
                real = known >= RESERVED
                logits = head(body(known)[-1].transpose(0, 1)[real])  # [N, V]
                optimizer.zero_grad()
                nn.functional.cross_entropy(logits, following[real]).backward()
                optimizer.step()
        return body.requires_grad_(False)

    def accuracy(self, body: Backbone, name: str, labelled: int = 40, **settings: object) -> float:
        setting = dataclasses.replace(contract().setting(self.TYPES), body=body, items=self.VOCABULARY)
        histories, targets = toy_users(600, self.TYPES, self.VOCABULARY, 20, seed=6)
        train, valid, test = (
            Examples(histories.select(users), targets[users])
            for users in torch.arange(600).split([labelled, labelled, 600 - 2 * labelled])
        )
        way = method(name)
        options = way.options(**settings)
        patch = way.build(setting, options)
        phases = way.phases(patch, setting, options)
        for _ in fit(patch, phases, train, valid, setting, FitConfig(epochs=5, threads=1), Silent()):
            pass
        hits = predict(patch, body, test.histories).argmax(1) == test.targets
        return hits.float().mean().item()

    def test_a_trained_body_beats_a_random_one_where_labels_are_few(self) -> None:
        torch.manual_seed(0)
        trained, fresh = self.pretrained(), tiny_body(self.VOCABULARY, channels=16, max_length=20)
        alone: dict[str, object] = {"wide": False}  # counting would make up for what a random body lacks
        for name, settings in (("probe", {}), ("peter", alone)):
            reached = self.accuracy(trained, name, **settings)
            assert reached > self.accuracy(fresh, name, **settings) + 0.1
            assert reached > 0.5  # chance: 1/4
        assert self.accuracy(trained, "peter", labelled=150, readout="last", **alone) > 0.35
        assert self.accuracy(trained, "peter") > self.accuracy(trained, "peter", **alone)

    @pytest.mark.parametrize("name", ["bag", "probe", "peter"])
    def test_many_labels_beat_chance_by_far(self, name: str) -> None:
        made = contract(name)
        setting = made.setting()
        histories, targets = toy_users(400, seed=3)
        outputs = predict(made.fitted(setting), setting.body, histories)
        assert (outputs.argmax(1) == targets).float().mean() > 0.65  # chance: 1/2


def test_the_toy_world_fits_the_tiny_body() -> None:
    assert int(toy_users()[0].items.max()) < ITEMS
