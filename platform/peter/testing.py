"""What every task kind and every method must keep, as test classes: subclass one and name the plugin.

class TestMine(MethodContract):
    method = my_package.mine.plugin
"""

import hashlib
import json
import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from scipy.sparse import csr_matrix
from torch import Tensor, nn

from peter import diagram, task
from peter.config import BackboneConfig, FitConfig, as_option, from_dict, from_options, to_dict, types_of
from peter.data.histories import RESERVED, Histories
from peter.errors import InputError
from peter.methods import Examples, Gradient, Method, Setting
from peter.nn.backbone import Backbone, build_backbone
from peter.progress import Silent
from peter.space import ends
from peter.task import Labels, TaskKind, cost
from peter.training.fit import fit, predict

Fitted = dict[int, tuple[Setting, nn.Module]]  # what a patch is made for, and the patch

ITEMS = 44  # V of the toy world
USERS = 90


def tiny_body(items: int = ITEMS, seed: int = 0, **shape: Any) -> Backbone:
    """A frozen random body: 8 channels, 2 blocks, windows of 10 events, unless `shape` says otherwise."""
    config = BackboneConfig(**{"channels": 8, "blocks": 2, "max_length": 10, **shape})
    return build_backbone(config, items, seed).requires_grad_(False)


def toy_users(
    users: int = USERS, types: int = 2, items: int = ITEMS, events: int = 25, seed: int = 0
) -> tuple[Histories, Tensor]:
    """Users of hidden types [B], 1 to `events` events each, two thirds on the type's own items."""
    generator = torch.Generator().manual_seed(seed)
    kinds = torch.randint(types, (users,), generator=generator)
    lengths = torch.randint(1, events + 1, (users,), generator=generator)
    owner = kinds.repeat_interleave(lengths)  # [N]
    share = (items - RESERVED) // types
    anything = torch.randint(share * types, owner.shape, generator=generator)
    drawn = torch.where(
        torch.rand(owner.shape, generator=generator) < 2 / 3, owner * share + anything % share, anything
    )
    return Histories(drawn + RESERVED, torch.cat([lengths.new_zeros(1), lengths.cumsum(0)])), kinds


def fingerprint(tensors: dict[str, Tensor]) -> str:
    """A hash of names and bits."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(
            name.encode() + tensors[name].detach().cpu().reshape(-1).view(torch.uint8).numpy().tobytes()
        )
    return digest.hexdigest()


class TaskKindContract:
    """Set `kind`, `labels` of thirty users or more, a `foreign` answer and `hopeless` labels."""

    kind: TaskKind
    labels: Labels
    foreign: str
    hopeless: Labels

    def world(self) -> tuple[task.Schema, Tensor, Tensor]:
        """Schema, targets [B] and outputs [B, K] of no merit."""
        schema = self.kind.schema(self.labels)
        generator = torch.Generator().manual_seed(0)
        shape = (len(self.labels), self.kind.width(schema))
        return schema, self.kind.encode(self.labels, schema), torch.randn(shape, generator=generator)

    def test_the_schema_is_json_that_rows_do_not_reorder(self) -> None:
        schema = self.kind.schema(self.labels)
        assert json.loads(json.dumps(schema)) == schema
        assert self.kind.schema(self.labels[::-1]) == schema

    def test_a_kind_is_its_own_settings(self) -> None:
        assert from_dict(type(self.kind), to_dict(self.kind)) == self.kind

    def test_hopeless_labels_are_refused(self) -> None:
        with pytest.raises(InputError):
            self.kind.schema(self.hopeless)

    def test_a_foreign_label_is_refused_by_name(self) -> None:
        with pytest.raises(InputError, match=self.foreign):
            self.kind.encode([*self.labels, (self.foreign,)], self.kind.schema(self.labels))

    def test_the_loss_is_a_mean_that_descends(self) -> None:
        _, targets, outputs = self.world()
        outputs.requires_grad_(True)
        whole = self.kind.loss(outputs, targets)
        halves = [self.kind.loss(outputs[at::2], targets[at::2]) * len(targets[at::2]) for at in (0, 1)]
        assert whole.item() == pytest.approx(sum(halves).item() / len(targets), rel=1e-4)  # type: ignore[union-attr]
        whole.backward()
        assert outputs.grad is not None
        assert outputs.grad.abs().sum() > 0

    def test_the_prior_is_better_than_nothing(self) -> None:
        schema, targets, outputs = self.world()
        prior = self.kind.prior(targets, schema).expand_as(outputs)
        assert self.score(prior, targets) < self.score(outputs, targets)

    def test_a_linear_fit_finds_a_plain_answer(self) -> None:
        schema, targets, outputs = self.world()
        noise = torch.randn(len(targets), 3, generator=torch.Generator().manual_seed(1))
        features = torch.cat([targets.float().reshape(len(targets), -1), noise], 1)  # [B, F]
        train, valid = torch.randperm(len(targets), generator=torch.Generator().manual_seed(2)).chunk(2)
        users = (features[train], targets[train]), (features[valid], targets[valid])
        [found] = self.kind.fit_linear([users], schema)
        rank = self.kind.rank(schema)
        assert (rank is None) == (found.down is None)
        assert found.up.shape == (outputs.shape[1], rank or features.shape[1])
        assert found.bias.shape == outputs.shape[1:]
        assert found.up.dtype == found.bias.dtype == torch.float32
        prior = self.kind.prior(targets[train], schema).expand_as(outputs)
        answers = found.of(features)
        assert self.score(answers, targets) < self.score(prior, targets)
        seen, new = ((csr_matrix(x), y) for x, y in users)
        [sparse] = self.kind.fit_linear([(seen, new)], schema)
        torch.testing.assert_close(sparse.of(features), answers, rtol=1e-2, atol=1e-2)
        folds = self.kind.fit_linear([users, users[::-1]], schema)
        assert len(folds) == 2  # of one strength

    def test_metrics_are_finite_whatever_is_asked(self) -> None:
        """Also of a constant answer, and of resamples that hold one user only."""
        schema, targets, outputs = self.world()
        rows = torch.eye(len(targets)) * len(targets)
        for answers in (outputs, self.kind.prior(targets, schema).expand_as(outputs)):
            calibrated = self.kind.calibrated(answers, self.kind.calibrate(answers, targets))
            for name, values in self.kind.metrics(calibrated, targets, rows).items():
                assert values.shape == (len(rows),), name
                assert values.isfinite().all(), name

    def test_weights_count_users(self) -> None:
        _, targets, outputs = self.world()
        outputs = self.kind.calibrated(outputs, self.kind.calibrate(outputs, targets))
        weights = torch.arange(len(targets)).remainder(3).float()[None]
        rows = torch.arange(len(targets)).repeat_interleave(weights[0].long())
        got = self.kind.metrics(outputs, targets, weights)
        assert self.kind.primary in got
        for name, expected in self.kind.metrics(
            outputs[rows], targets[rows], torch.ones(1, len(rows))
        ).items():
            torch.testing.assert_close(got[name], expected, rtol=1e-5, atol=1e-6, msg=name)

    def test_calibration_is_json_and_repeatable(self) -> None:
        _, targets, outputs = self.world()
        calibration = self.kind.calibrate(outputs, targets)
        assert calibration == json.loads(json.dumps(self.kind.calibrate(outputs, targets)))
        after = self.kind.calibrated(outputs, calibration)
        assert len(after) == len(outputs)
        assert after.shape[1] >= outputs.shape[1]
        none = self.kind.calibrate(outputs[:0], targets[:0])
        assert all(map(math.isfinite, none.values()))
        assert self.score(after, targets) <= self.score(outputs, targets) + 1e-6

    def test_a_profile_has_a_value_and_a_probability(self) -> None:
        schema, targets, outputs = self.world()
        calibration = self.kind.calibrate(outputs, targets)
        known: Labels = [(), *self.labels[1:]]
        told = self.kind.profile(self.kind.calibrated(outputs, calibration), schema, calibration, known)
        for column in (told.values, told.probabilities, *told.details.values()):
            assert len(column) == len(outputs)
            assert json.loads(json.dumps(column)) == column
        assert all(chance is None or 0 <= chance <= 1 for chance in told.probabilities)
        observed = self.kind.observed(self.labels[0], schema)
        assert observed is None or isinstance(told.values[0], type(observed))

    def test_the_learner_descends_like_the_loss_and_repeats_itself(self) -> None:
        schema, targets, outputs = self.world()
        outputs.requires_grad_(True)
        losses = [self.kind.learner(targets, schema, seed=1)(outputs, targets) for _ in range(2)]
        assert losses[0].item() == losses[1].item()
        losses[0].backward()
        assert outputs.grad is not None
        with torch.no_grad():
            after = self.kind.loss(outputs - 0.1 * outputs.grad, targets)
        assert after < self.kind.loss(outputs, targets)

    def test_diagrams_have_names_of_their_own_and_are_json(self) -> None:
        schema, targets, outputs = self.world()
        outputs = self.kind.calibrated(outputs, self.kind.calibrate(outputs, targets))
        drawn = self.kind.diagrams(outputs, targets, schema)
        assert len({each.name for each in drawn}) == len(drawn)
        kept = [diagram.to_json(each) for each in drawn]
        assert json.loads(json.dumps(kept)) == kept
        assert [diagram.from_json(each) for each in kept] == list(drawn)

    def score(self, outputs: Tensor, targets: Tensor) -> float:
        """The primary metric, turned so that less is better."""
        return float(cost(self.kind, self.kind.metrics(outputs, targets, torch.ones(1, len(targets)))))


class MethodContract:
    """Set `method`; `settings` changes its options, `kind_name` the task that it is tried on."""

    method: Method
    settings: dict[str, Any] = {}  # noqa: RUF012 - replaced by subclasses, never changed
    kind_name = "classification"
    learns = True  # sixty users on a random body are enough to beat the prior
    config = FitConfig(epochs=2, batch_users=16, weight_decay=0.1, threads=1)

    def setting(self, types: int = 2, seed: int = 0) -> Setting:
        kind = task.kind(self.kind_name)
        labels = [(str(number),) for number in range(types)]
        return Setting(tiny_body(), ITEMS, kind, kind.schema(labels), seed)

    def users(self, types: int = 2, seed: int = 0) -> tuple[Histories, Tensor]:
        """Toy users with their types as targets of the kind."""
        (histories, numbers), setting = toy_users(types=types, seed=seed), self.setting(types)
        labels = [(str(number),) for number in numbers.tolist()]
        return histories, setting.kind.encode(labels, setting.schema)

    def build(self, setting: Setting) -> nn.Module:
        return self.method.build(setting, self.method.options(**self.settings))

    def examples(self, types: int = 2) -> tuple[Examples, Examples]:
        """Training and validation users."""
        histories, targets = self.users(types)
        train, valid = torch.arange(USERS).split([60, 30])
        return (
            Examples(histories.select(train), targets[train]),
            Examples(histories.select(valid), targets[valid]),
        )

    def fitted(self, setting: Setting, types: int = 2) -> nn.Module:
        patch, options = self.build(setting), self.method.options(**self.settings)
        phases = self.method.phases(patch, setting, options)
        for _ in fit(patch, phases, *self.examples(types), setting, self.config, Silent()):
            pass
        return patch

    @pytest.fixture(scope="class")
    @classmethod
    def tasks(cls) -> Fitted:
        """By the number of types, of two tasks fitted on one body: two first, then three."""
        made, body = cls(), cls().setting().body
        settings = {types: replace(made.setting(types), body=body) for types in (2, 3)}
        return {types: (setting, made.fitted(setting, types)) for types, setting in settings.items()}

    def test_the_seed_alone_decides_a_fresh_patch(self) -> None:
        setting = self.setting()
        first = fingerprint(self.build(setting).state_dict())
        torch.rand(7)
        assert fingerprint(self.build(setting).state_dict()) == first

    def test_a_search_can_use_every_value_of_the_space(self) -> None:
        """Alone, on a small body: what cannot be built would be a trial that fails."""
        setting = self.setting()
        plain = (self.method.options(**self.settings), self.config)
        for key, domain in self.method.space(BackboneConfig(channels=8, blocks=2, max_length=10)).items():
            assert key in types_of(*plain)
            for value in ends(domain):
                options, _ = from_options([as_option(key, value)], *plain)
                self.method.build(setting, options)

    def test_every_user_gets_an_answer(self, tasks: Fitted) -> None:
        """Also one without any event."""
        setting, patch = tasks[3]
        histories = Histories(torch.tensor([4, 5, 6, 4]), torch.tensor([0, 3, 3, 4]))
        outputs = predict(patch, setting.body, histories)
        assert outputs.shape == (3, 3)
        assert outputs.isfinite().all()

    def test_an_answer_does_not_depend_on_the_others(self, tasks: Fitted) -> None:
        (setting, patch), (histories, _) = tasks[2], toy_users(seed=1)
        order = torch.randperm(USERS, generator=torch.Generator().manual_seed(2))
        outputs = predict(patch, setting.body, histories)
        shuffled = predict(patch, setting.body, histories.select(order))
        torch.testing.assert_close(shuffled, outputs[order], rtol=1e-4, atol=1e-5)
        alone = predict(patch, setting.body, histories.select(order[:1]))
        torch.testing.assert_close(alone, outputs[order[:1]], rtol=1e-4, atol=1e-5)

    def test_only_the_patch_moves(self, tasks: Fitted) -> None:
        """Under weight decay."""
        setting, patch = tasks[2]
        own = {id(tensor) for tensor in patch.parameters()}
        theirs = {tensor.data_ptr() for tensor in setting.body.parameters()}
        assert not theirs & {tensor.data_ptr() for tensor in patch.state_dict().values()}
        for phase in self.method.phases(patch, setting, self.method.options(**self.settings)):
            if isinstance(phase, Gradient):
                assert {id(tensor) for tensor in phase.parameters} <= own
        fresh = self.setting().body.state_dict()
        assert fingerprint(setting.body.state_dict()) == fingerprint(fresh)

    def test_tasks_in_either_order_give_the_same_bits(self, tasks: Fitted) -> None:
        for types in (3, 2):
            setting, patch = tasks[types]
            again = self.fitted(setting, types)
            assert fingerprint(again.state_dict()) == fingerprint(patch.state_dict())

    def test_a_patch_loaded_again_answers_bit_for_bit(self, tasks: Fitted) -> None:
        histories, _ = toy_users(seed=1)
        answers = []
        for types in (2, 3, 2):
            setting, fitted = tasks[types]
            patch = self.build(setting)
            patch.load_state_dict(fitted.state_dict())
            answers.append(predict(patch, setting.body, histories))
        assert torch.equal(answers[0], answers[2])
        assert torch.equal(answers[0], predict(tasks[2][1], tasks[2][0].body, histories))
        assert answers[1].shape == (USERS, 3)

    def test_a_fitted_patch_beats_the_prior_on_new_users(self, tasks: Fitted) -> None:
        if not self.learns:
            pytest.skip("nothing can be learnt from so little")
        setting, patch = tasks[2]
        (histories, targets), weights = self.users(seed=1), torch.ones(1, USERS)
        outputs = predict(patch, setting.body, histories)
        prior = setting.kind.prior(self.users()[1], setting.schema).expand_as(outputs)
        got, chance = (
            cost(setting.kind, setting.kind.metrics(x, targets, weights)) for x in (outputs, prior)
        )
        assert got.item() < chance.item()

    def test_the_adapter_config_is_json(self) -> None:
        assert isinstance(self.method.deployable, bool)
        config = self.method.adapter_config(self.method.options(**self.settings))
        assert json.loads(json.dumps(config)) == config
        assert "peft_type" in config
