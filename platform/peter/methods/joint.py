"""All tasks of a backbone learnt together on one copy of it: what separate patches give up, or gain."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from peter.config import BackboneConfig
from peter.data.histories import Histories
from peter.methods import ClosedForm, Examples, Gradient, Phase, Setting, full
from peter.methods._deep import DeepPatch, WidePatch
from peter.methods._head import Head
from peter.nn.backbone import Backbone
from peter.nn.init import generator
from peter.space import Domain
from peter.task import Loss


class JointPatch(nn.Module):
    """A task's own answer on a trunk that has a head for each of the other tasks, too."""

    def __init__(self, own: DeepPatch, setting: Setting) -> None:
        super().__init__()
        self.own = own
        features = len(own.mean)  # F
        self.others = nn.ModuleList(
            Head(features, replace(setting, kind=other.kind, schema=other.schema))
            for other in setting.others()
        )

    def forward(self, body: Backbone, histories: Histories) -> Tensor:
        outputs: Tensor = self.own(body, histories)  # [B, K]
        return outputs

    def features(self, body: Backbone, histories: Histories) -> Tensor:
        """The standardised read-out [B, F] of the shared trunk."""
        return self.own.standardised(self.own.read(body, histories))


class _Together:
    """The loss of the compared task plus the mean of the others', on batches of their own training users."""

    def __init__(self, patch: JointPatch, setting: Setting, warm: bool) -> None:
        self.patch, self.setting, self.warm = patch, setting, warm
        self.others, self.steps = setting.others(), 0
        self.own: Loss | None = None
        self.losses: list[Loss] = []

    @torch.no_grad()
    def begin(self, train: Examples, valid: Examples) -> None:
        """Make the losses; if `warm`, let each of the other heads start from its convex solution."""
        setting = self.setting
        self.own = setting.kind.learner(train.targets, setting.schema, setting.seed)
        self.losses = [
            other.kind.learner(other.train.targets, other.schema, setting.seed) for other in self.others
        ]
        for head, other in zip(self.patch.others, self.others, strict=True) if self.warm else ():
            assert isinstance(head, Head)
            seen, new = (
                (self.patch.features(setting.body, users.histories).cpu(), users.targets)
                for users in (other.train, other.valid)
            )
            [found] = other.kind.fit_linear([(seen, new)], other.schema)
            head.fill(found)

    def __call__(self, outputs: Tensor, targets: Tensor) -> Tensor:
        assert self.own is not None
        loss = self.own(outputs, targets)
        self.steps += 1
        theirs = [self._theirs(at, len(targets)) for at in range(len(self.others))]
        return loss + torch.stack(theirs).mean() if theirs else loss

    def _theirs(self, at: int, users: int) -> Tensor:
        """Another task's loss on as many of its training users, drawn for this step."""
        train = self.others[at].train
        draw = torch.randperm(
            len(train.targets), generator=generator(self.setting.seed, "joint", at, self.steps)
        )[:users]
        features = self.patch.features(self.setting.body, train.histories.select(draw))  # [b, F]
        outputs = self.patch.others[at](features)  # [b, K]
        return self.losses[at](outputs, train.targets[draw].to(outputs.device))


class Joint:
    """MTL, a baseline of PeterRec (Yuan et al., SIGIR 2020): one backbone, all of it trained, for all tasks.

    It needs every task's labels whenever one of them changes, and then changes them all: hence no patch of
    it is ever registered. Without other tasks it is `full`.
    """

    options = full.Options
    deployable = False
    rooted = False

    def build(self, setting: Setting, options: full.Options) -> JointPatch | WidePatch:
        alone = full.plugin.build(setting, options)
        return JointPatch(alone, setting) if isinstance(alone, DeepPatch) else alone

    def phases(self, patch: nn.Module, setting: Setting, options: full.Options) -> Sequence[Phase]:
        if not isinstance(patch, JointPatch):
            return full.plugin.phases(patch, setting, options)
        *solved, descent = full.plugin.phases(patch.own, setting, options)
        assert isinstance(descent, Gradient)
        loss = _Together(patch, setting, options.warm_start)
        moved = [*descent.parameters, *patch.others.parameters()]
        return [*solved, ClosedForm("other heads", loss.begin), replace(descent, parameters=moved, loss=loss)]

    def adapter_config(self, options: full.Options) -> Mapping[str, Any]:
        alone = full.plugin.adapter_config(options)
        return {**alone, "peft_type": "JOINT", "modules_to_save": ["own", "others"]}

    def space(self, shape: BackboneConfig) -> Mapping[str, Domain]:
        return full.plugin.space(shape)


plugin = Joint()
