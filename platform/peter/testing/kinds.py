"""What every task kind must keep."""

import json
import math

import pytest
import torch
from scipy.sparse import csr_matrix
from torch import Tensor

from peter import diagram, task
from peter.config import from_dict, to_dict
from peter.errors import InputError
from peter.task import Labels, TaskKind, cost


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
