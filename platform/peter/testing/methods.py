"""What every method must keep."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from peter import task
from peter.config import BackboneConfig, FitConfig, as_option, from_options, to_dict, types_of
from peter.data.histories import Histories
from peter.methods import Examples, Gradient, Method, Older, Setting, read_by
from peter.methods import method as method_of
from peter.nn.owned import Root
from peter.progress import Silent
from peter.space import ends
from peter.task import cost
from peter.testing.toys import ITEMS, USERS, fingerprint, tiny_body, toy_catalogue, toy_users
from peter.training.checkpoint import Checkpoint
from peter.training.fit import EpochReport, fit, predict

Fitted = dict[int, tuple[Setting, nn.Module]]  # what a patch is made for, and the patch


def champion(name: str, setting: Setting, seed: int = 0, **settings: Any) -> Older:
    """Another task's champion of a method, with numbers drawn as if it were trained, for others to read."""
    options = method_of(name).options(**settings)
    patch = method_of(name).build(setting, options)
    generator = torch.Generator().manual_seed(seed)
    for parameter in patch.parameters():
        nn.init.normal_(parameter, std=0.3, generator=generator)
    tensors = {key: tensor.detach().clone() for key, tensor in patch.state_dict().items()}
    sha256 = fingerprint(tensors)
    return Older(seed, f"task{seed}@1", "champion", name, to_dict(options), sha256, lambda: tensors)


class MethodContract:
    """Set `method`; `settings` changes its options, `kind_name` the task, `architecture` the body."""

    method: Method
    architecture = "nextitnet"
    settings: dict[str, Any] = {}  # noqa: RUF012 - replaced by subclasses, never changed
    kind_name = "classification"
    older: Sequence[Older] = ()  # what a method that reads others finds there
    learns = True  # sixty users on a random body are enough to beat the prior
    config = FitConfig(epochs=2, batch_users=16, weight_decay=0.1, threads=1)

    def setting(self, types: int = 2, seed: int = 0) -> Setting:
        kind = task.kind(self.kind_name)
        labels = [(str(number),) for number in range(types)]
        body, schema = tiny_body(architecture=self.architecture), kind.schema(labels)
        root = Root.cut(body, pruned=0.5)
        return Setting(
            body, ITEMS, kind, schema, seed, older=lambda: self.older, root=root, catalogue=toy_catalogue()
        )

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

    def reports(
        self, patch: nn.Module, setting: Setting, types: int = 2, saved: Checkpoint | None = None
    ) -> Iterator[EpochReport]:
        phases = self.method.phases(patch, setting, self.method.options(**self.settings))
        return fit(patch, phases, *self.examples(types), setting, self.config, Silent(), saved)

    def fitted(self, setting: Setting, types: int = 2) -> nn.Module:
        patch = self.build(setting)
        for _ in self.reports(patch, setting, types):
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

    def test_what_it_reads_is_what_it_would_choose_of_that_alone(self) -> None:
        """So a registered patch is built again as it was, whatever came after it."""
        setting = self.setting()
        reads = read_by(self.build(setting))
        assert read_by(self.build(replace(setting, older=lambda: reads))) == reads
        assert all(older in self.older for older in reads)

    def test_what_it_reads_stays_as_it_was(self, tasks: Fitted) -> None:
        _, patch = tasks[2]
        for older in read_by(patch):
            assert fingerprint(dict(older.tensors())) == older.sha256
            theirs = {tensor.data_ptr() for tensor in older.tensors().values()}
            assert not theirs & {tensor.data_ptr() for tensor in patch.state_dict().values()}

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

    def test_a_fit_that_is_left_goes_on_bit_for_bit(self, tmp_path: Path) -> None:
        """After its first epoch, with another patch, from a file: a population is trained so."""
        setting, file, last = self.setting(), tmp_path / "left", 0.0
        patch, other = self.build(setting), self.build(setting)
        for report in self.reports(patch, setting):
            last = report.valid_score
            if report.epoch == 1:
                report.checkpoint().write(file)
        if not (file.exists() and self.method.deployable):
            pytest.skip("no search leaves it")
        (rest,) = self.reports(other, setting, saved=Checkpoint.read(file))
        assert (rest.epoch, rest.valid_score) == (2, last)
        assert fingerprint(other.state_dict()) == fingerprint(patch.state_dict())

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
        assert isinstance(self.method.rooted, bool)
        config = self.method.adapter_config(self.method.options(**self.settings))
        assert json.loads(json.dumps(config)) == config
        assert "peft_type" in config
