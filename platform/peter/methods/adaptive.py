"""Patches of which every user gets those of the blocks that a policy opens for him."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from peter.config import BackboneConfig
from peter.errors import InputError
from peter.methods import Gradient, Setting
from peter.methods._choices import bottleneck
from peter.methods._deep import Deep, DeepOptions, DeepPatch, Offsets, rates
from peter.nn.block_copies import BlockCopies
from peter.nn.dropout import Draws
from peter.nn.gated import GatedTrunk
from peter.nn.gates import RULES, Always, Learnt, PolicyNet, Random
from peter.nn.patch import PatchGraft
from peter.space import Choice, Domain
from peter.task import TaskKind


@dataclass(frozen=True)
class Options(DeepOptions):
    """What `--set` may change."""

    policy: Literal["hard", "soft", "reinforced", "random", "always"] = "hard"  # the last two are controls
    form: Literal["patches", "copies"] = "patches"  # copies: of whole blocks, as in the authors' code
    insertion: Literal["serial2", "serial1", "serial1-inner", "parallel-delta"] = "serial2"  # fresh: the body
    reduction: int = 8  # C / D of the patches
    activation: Literal["gelu", "relu", "leaky_relu"] = "gelu"
    width: int = 16  # channels of the policy network
    temperature: float = 1.0  # of hard and reinforced choices while training; 10 in the authors' code
    thrift: float = 0.0  # reinforced: reward for leaving all blocks closed; below 0: for opening them
    share: float = 0.5  # of the blocks that policy=random opens

    def __post_init__(self) -> None:
        DeepOptions.__post_init__(self)
        for name, least, most in (("width", 2, 4096), ("temperature", 1e-3, 1e3), ("share", 0, 1)):
            if not least <= getattr(self, name) <= most:
                raise InputError(
                    f"{name}={getattr(self, name)} cannot be used; give a number from {least:g} to {most:g}."
                )


def trunk(setting: Setting, options: Options) -> GatedTrunk:
    """UAF (Chen et al., TKDE 2021) over PeterRec's patches in place of copies of whole blocks.

    Of the paper are the hard, soft and reinforced policies. Of the authors' code: a policy network a task, of
    two dilated blocks and a mean over time, and policies that know nothing. Ours: it reads the frozen item
    embedding, where theirs trains a table of its own and the body's, too, so that a patch holds no tables;
    its channels are few; a block has one logit, as of two only the difference counts, and that is not
    squashed into (0, 1) as theirs, where no gate could be surer than .73. Gates are the user's: those of the
    newest window hold for all. Serving draws nothing, where theirs leaves the noise on. Patches come without
    copies of LayerNorms, as one for a whole batch cannot be gated.
    """
    return GatedTrunk(_own(setting, options), _policy(setting, options))


def _own(setting: Setting, options: Options) -> BlockCopies | PatchGraft:
    body = setting.body
    if options.form == "copies":
        return BlockCopies(body)
    narrow = bottleneck(body.channels, options.reduction)
    return PatchGraft(body, narrow, setting.seed, None, options.activation, False, options.insertion)


def _policy(setting: Setting, options: Options) -> nn.Module:
    blocks = setting.body.sites // 2  # N
    if options.policy == "always":
        return Always(blocks)
    if options.policy == "random":
        return Random(blocks, options.share, setting.seed)
    net = PolicyNet(setting.body.channels, options.width, blocks, setting.seed)
    return Learnt(net, options.policy, options.temperature, setting.seed)


@dataclass(frozen=True)
class SelfCritical:
    """(R(drawn) - R(greedy)) times the surprise at the drawn gates, its mean over users.

    A user's reward R is his negative loss less `thrift` for the share of blocks that are open. The authors'
    pays for open blocks, which is a negative thrift, squared, and only where a target is among the top five,
    which not every kind of task has. Left out: five epochs of the hard policy before.
    """

    policy: Learnt
    draws: Draws  # of the dropout, the same in both passes: gates alone may make a difference
    kind: TaskKind
    thrift: float

    def __call__(self, again: Callable[[], Tensor], outputs: Tensor, targets: Tensor) -> Tensor:
        drawn, logits = self.policy.taken()  # [B, N]
        self.draws.again()
        with torch.no_grad():
            greedy = self.rewards(again(), targets, (logits > 0).to(drawn))
            advantage = self.rewards(outputs, targets, drawn) - greedy  # [B]
        surprise = F.binary_cross_entropy_with_logits(logits, drawn, reduction="none").sum(1)  # [B]
        return (advantage * surprise).mean()

    def rewards(self, outputs: Tensor, targets: Tensor, gates: Tensor) -> Tensor:
        """R [B] of outputs [B, K] under gates [B, N]."""
        users = zip(outputs.split(1), targets.split(1), strict=True)
        losses = torch.stack([self.kind.loss(*user) for user in users])  # [B]
        return -losses - self.thrift * gates.mean(1)


def descent(patch: DeepPatch, setting: Setting, options: Options, offsets: Offsets) -> Sequence[Gradient]:
    """All of it together; beside the task's loss, the reinforced policy's own."""
    assert isinstance(patch.trunk, GatedTrunk)
    policy, beside = patch.trunk.policy, None
    if options.policy == "reinforced":
        assert isinstance(policy, Learnt)
        beside = SelfCritical(policy, patch.dropout.draws, setting.kind, options.thrift)
    return [Gradient("patches", patch.descended(), offsets=offsets, beside=beside)]


def peft(options: Options) -> Mapping[str, Any]:
    """As of the default, whose patches these are; peft has no gates."""
    learnt = ["trunk.policy"] if options.policy in RULES else []
    if options.form == "copies":
        saved = ["trunk.own", *learnt]
        return {"peft_type": "GATED_COPIES", "policy": options.policy, "modules_to_save": saved}
    return {
        "peft_type": "GATED_BOTTLENECK",
        "policy": options.policy,
        "reduction_factor": options.reduction,
        "non_linearity": options.activation,
        "is_parallel": options.insertion.startswith("parallel"),
        "insertion": options.insertion,
        "modules_to_save": learnt,
    }


def domains(shape: BackboneConfig) -> Mapping[str, Domain]:
    """Rates, what is read, how wide the patches are, and how gates are learnt."""
    reductions = tuple(number for number in (4, 8, 16) if number <= shape.channels) or (1,)
    return {**rates(shape), "reduction": Choice(reductions), "policy": Choice(tuple(RULES))}


plugin = Deep(Options, trunk, peft, domains, descent)
