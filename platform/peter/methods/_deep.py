"""What all methods share that descend: a trunk under a read-out and a linear head, beside a wide term.

A method gives its options and its trunk; the rest is here.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Literal, Protocol

import torch
from torch import Tensor, nn

from peter.config import LATER, BackboneConfig
from peter.data.histories import RESERVED, Histories
from peter.errors import InputError
from peter.methods import ClosedForm, Examples, Gradient, Older, Phase, Setting
from peter.methods._counts import projected
from peter.methods._head import Head, moments
from peter.methods._maps import side_by_side
from peter.methods._pool import Part, pooled, solved
from peter.methods._wide import counted, idf, wide_term
from peter.methods.bag import TfIdfLinear
from peter.nn.backbone import Backbone
from peter.nn.dropout import Dropout
from peter.nn.experts import Experts
from peter.nn.graft import TCL
from peter.nn.init import truncated_normal_
from peter.nn.names import part
from peter.nn.readout import PoolName, ReadOut, Span
from peter.nn.view import Gated, Trunk, View
from peter.space import Choice, Domain, LogUniform

TRUNK = "trunk."  # before the names of its tensors in a patch's state dict


@dataclass(frozen=True)
class DeepOptions:
    """What `--set` may change, whatever the trunk. PeterRec as published (on a causal body, serial2 patches)
    is wide=off summary=off readout=last tcl=on warm_start=off."""

    deep: bool = True  # the trunk and its head; off: the wide term alone
    readout: PoolName = "all"  # last: the top level at the last event, as in PeterRec
    history: Span = "auto"  # auto: all of it for readout=all, else the newest window
    tcl: bool = False  # end each window by [TCL] (and begin it, if the body is not causal), a trained row
    tcl_from: Literal["draw", "backbone"] = field(default="draw", metadata=LATER)  # what that row starts from
    wide: bool = True  # a weight per item and class over the whole history, solved first and then left alone
    summary: bool = True  # read the TF-IDF-weighted mean of the item embeddings over the whole history, too
    warm_start: bool = True  # the head starts from a convex solution on the bare body
    dropout: float = 0.0  # share of the features that each training pass leaves out

    def __post_init__(self) -> None:
        if not 0 <= self.dropout < 1:
            raise InputError(f"dropout={self.dropout} cannot be used; give a number from 0 to below 1.")
        if not (self.deep or self.wide):
            raise InputError("With deep=off and wide=off nothing is left to train; give one of them.")


class Beside(Protocol):
    """What a method has beside the head: an nn.Module."""

    def __call__(self, features: Tensor, trunk: Trunk) -> Tensor:
        """Outputs [B, K] of the standardised features [B, F], added to the head's."""


class WidePatch(nn.Module):
    """The wide term of a `DeepPatch` without the rest: what the rest has to beat."""

    def __init__(self, setting: Setting) -> None:
        super().__init__()
        self.wide = wide_term(setting)

    def forward(self, body: Backbone, histories: Histories) -> Tensor:
        outputs: Tensor = self.wide(body, histories)  # [B, K]
        return outputs


class ItemSummary(nn.Module):
    """What items a user has had at all, in the trunk's own terms: a mean of its item embedding, [B, C]."""

    idf: Tensor

    def __init__(self, setting: Setting) -> None:
        super().__init__()
        self.register_buffer("idf", torch.zeros(setting.items))  # [V]

    def forward(self, view: View, histories: Histories) -> Tensor:
        return projected(histories, self.idf, view.item_table.T)


class DeepPatch(nn.Module):
    """A linear head on the standardised read-out of a trunk.

    A wide term (Cheng et al., Wide & Deep, DLRS 2016, but solved and not descended) says what counting can
    tell; the rest learns what it cannot, and is kept only as far as validation users gain by it.
    """

    tcl: nn.Parameter | None
    mean: Tensor
    scale: Tensor
    counted: Part | None = None  # what the wide term says of users it was not solved on, while fitting

    def __init__(
        self,
        trunk: Trunk,
        setting: Setting,
        options: DeepOptions,
        beside: Callable[[int], Beside | None] | None = None,
    ) -> None:
        super().__init__()
        self.wide = wide_term(setting) if options.wide else None
        self.trunk = trunk
        self.register_parameter(
            "tcl", nn.Parameter(torch.empty(setting.body.channels)) if options.tcl else None
        )
        self.read_out = ReadOut(options.readout, options.history, options.tcl)
        self.summary = ItemSummary(setting) if options.summary else None
        view = trunk.view(setting.body, self.tcl)
        self.widths = [self.read_out.width(view), *([len(view.item_table.T)] if options.summary else [])]
        features = sum(self.widths)  # F
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("scale", torch.ones(features))
        self.head = Head(features, setting, len(self.widths))  # F -> K
        if not options.wide:
            truncated_normal_(self.head.weight, setting.seed, "head.weight")
        if self.tcl is not None and options.tcl_from == "backbone":
            self.tcl.data.copy_(view.item_table[TCL].detach())
        elif self.tcl is not None:
            truncated_normal_(self.tcl, setting.seed, "tcl")
        self.dropout = Dropout(options.dropout, setting.seed)
        self.beside = beside(features) if beside else None

    def forward(self, body: Backbone, histories: Histories) -> Tensor:
        features = self.standardised(self.read(body, histories))  # [B, F]
        features = self.dropout(features)
        outputs: Tensor = self.head(features)  # [B, K]
        if self.beside is not None:
            outputs = outputs + self.beside(features, self.trunk)
        return outputs if self.training or self.wide is None else outputs + self.wide(body, histories)

    @property
    def reads(self) -> Sequence[Older]:
        """Those that its trunk reads."""
        return getattr(self.trunk, "reads", ())

    @property
    def later(self) -> bool:
        """Whether its trunk reads the body's own item table."""
        return getattr(self.trunk, "later", True)

    def gates(self, body: Backbone, histories: Histories) -> Tensor | None:
        """[B, N], where its trunk lets users have its blocks by gates."""
        view = self.trunk.view(body, self.tcl)
        return self.read_out.gates(view, histories) if isinstance(view, Gated) else None

    def read(self, body: Backbone, histories: Histories) -> Tensor:
        """The read-out [B, F] of the trunk, and the summary behind it."""
        view = self.trunk.view(body, self.tcl)
        found = self.read_out(view, histories)
        return found if self.summary is None else torch.cat([found, self.summary(view, histories)], dim=1)

    def standardised(self, features: Tensor) -> Tensor:
        return (features - self.mean) / self.scale

    def go_on(self, older: Mapping[str, Tensor]) -> None:
        """Let the trunk start from that of another patch of the same method and options."""
        assert isinstance(self.trunk, nn.Module)
        self.trunk.load_state_dict(part(TRUNK, older))

    def descended(self) -> list[nn.Parameter]:
        """All but the wide term."""
        return [parameter for name, parameter in self.named_parameters() if not name.startswith("wide.")]

    @torch.no_grad()
    def count(self, train: Examples, valid: Examples, setting: Setting) -> None:
        """Solve the wide term."""
        assert self.wide is not None
        self.counted = counted(self.wide, train, valid, setting)

    @torch.no_grad()
    def start(self, train: Examples, valid: Examples, setting: Setting, warm: bool) -> None:
        """Fix the standardisation; if `warm`, give the head the best linear solution on the fresh trunk.

        Linear probing, then fine-tuning: a random head would distort what the body knows (Kumar et al.,
        ICLR 2022). Beside a wide term, both are scaled to what they are worth together.
        """
        if self.summary is not None:
            known = self.wide.idf[RESERVED:] if self.wide else idf(setting, train)
            self.summary.idf[RESERVED:] = known
        features = self.read(setting.body, train.histories)  # [B, F]
        for buffer, value in zip((self.mean, self.scale), moments(features), strict=True):
            buffer.copy_(value)
        if not warm:
            return
        mine = self.standardised(features).cpu()
        others = self.standardised(self.read(setting.body, valid.histories)).cpu()
        parts = [
            solved((seen, train.targets), (new, valid.targets), setting)
            for seen, new in zip(mine.split(self.widths, 1), others.split(self.widths, 1), strict=True)
        ]
        counted = [self.counted] if self.counted else []
        shares = pooled([*counted, *parts], train.targets, valid.targets, setting)
        if self.wide and self.counted:
            self.wide.scale(shares[0])
            self.counted = replace(self.counted, train=shares[0] * self.counted.train)
        self.head.fill(side_by_side([part.found for part in parts], shares[len(counted) :]))


def rates(shape: BackboneConfig) -> Mapping[str, Domain]:
    """What every fit by gradient may vary."""
    return {
        "learning_rate": LogUniform(1e-4, 1e-2),
        "weight_decay": LogUniform(1e-5, 1.0),
        "dropout": Choice((0.0, 0.1, 0.2, 0.4)),
        "readout": Choice(("all", "mean", "last")),
    }


Offsets = Callable[[], Tensor] | None  # see `Gradient.offsets`


def once(patch: DeepPatch, setting: Setting, options: DeepOptions, offsets: Offsets) -> Sequence[Phase]:
    """All of it descends together."""
    return [Gradient("patches", patch.descended(), offsets=offsets)]


@dataclass
class Deep:
    """A `peter.methods.Method` made of a trunk."""

    options: type[Any]  # a subclass of `DeepOptions` that adds fields
    trunk: Callable[[Setting, Any], Trunk]  # initialised from the setting's seed alone
    peft: Callable[[Any], Mapping[str, Any]]  # keys of adapter_config.json that tell of the trunk
    domains: Callable[[BackboneConfig], Mapping[str, Domain]] = field(default=rates)
    descent: Callable[[DeepPatch, Setting, Any, Offsets], Sequence[Phase]] = field(default=once)
    deployable: bool = True
    rooted: bool = False
    experts: Callable[[Any], Experts] | None = None  # the low-rank directions of a trunk, for others to read
    beside: Callable[[Setting, Any, int], Beside | None] | None = None  # for so many features F

    def build(self, setting: Setting, options: DeepOptions) -> DeepPatch | WidePatch:
        if not options.deep:
            return WidePatch(setting)
        beside = partial(self.beside, setting, options) if self.beside else None
        patch = DeepPatch(self.trunk(setting, options), setting, options, beside)
        if setting.warm:
            patch.go_on(setting.warm())
        return patch

    def phases(self, patch: nn.Module, setting: Setting, options: DeepOptions) -> Sequence[Phase]:
        if isinstance(patch, WidePatch):
            term = patch.wide
            return [ClosedForm("wide", lambda train, valid: _alone(term, train, valid, setting))]
        assert isinstance(patch, DeepPatch)

        def count(train: Examples, valid: Examples) -> None:
            patch.count(train, valid, setting)

        def start(train: Examples, valid: Examples) -> None:
            patch.start(train, valid, setting, options.warm_start)

        def offsets() -> Tensor:
            assert patch.counted is not None
            return patch.counted.train

        if patch.wide is None:
            return [ClosedForm("head", start), *self.descent(patch, setting, options, None)]
        return [
            ClosedForm("wide", count),
            ClosedForm("head", start),
            *self.descent(patch, setting, options, offsets),
        ]

    def adapter_config(self, options: DeepOptions) -> Mapping[str, Any]:
        trunk = dict(self.peft(options))
        parts = {"head": options.deep, "tcl": options.tcl, "wide": options.wide}
        saved = [*trunk.pop("modules_to_save", ()), *(name for name, kept in parts.items() if kept)]
        return {**trunk, "modules_to_save": saved, "pooling": options.readout}

    def space(self, shape: BackboneConfig) -> Mapping[str, Domain]:
        return self.domains(shape)


@torch.no_grad()
def _alone(term: TfIdfLinear, train: Examples, valid: Examples, setting: Setting) -> None:
    counted(term, train, valid, setting)
