"""Weights of a shared trunk that one task after another comes to own: train, prune, train what is kept."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from peter.config import BackboneConfig
from peter.errors import InputError
from peter.methods import ClosedForm, Gradient, Older, Phase, Setting
from peter.methods._deep import TRUNK, Deep, DeepOptions, DeepPatch, Offsets, rates
from peter.nn.copies import key
from peter.nn.owned import KEPT, Claim, Freed, OwnedWeights
from peter.space import Choice, Domain

NAME = __name__.rpartition(".")[2]


@dataclass(frozen=True)
class Options(DeepOptions):
    """What `--set` may change. Conure is wide=off summary=off readout=last."""

    pruned: float = 0.7  # share of the free weights that stays free for later tasks
    freed: Freed = "kept"  # what free weights start from: what they were in the dense backbone, 0, or anew
    reads: bool = True  # use what older tasks own; off: the root's weights and the task's own alone
    norms: bool = False  # train copies of the LayerNorms, too
    biases: bool = False  # likewise of the convolutions' biases

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.pruned < 1:
            raise InputError(f"pruned={self.pruned} cannot be used; give a number from 0 to below 1.")


def trunk(setting: Setting, options: Options) -> OwnedWeights:
    """Conure (Yuan et al., SIGIR 2021), section 3, on a root that is pruned and re-trained itself.

    Of the paper: owned weights are read by all later tasks and written by none; of the free ones a task keeps
    the largest, and re-trains what it kept. Not of the paper: a quota is exact, ties by position; `norms` and
    `biases`; the root trains its item table, too, as it is its output table; free weights always start from
    the dense backbone, and not from what the task before left there, which nobody stored.
    """
    if setting.root is None:
        raise InputError(
            "Method prune appends to the root of a lineage, a pruned backbone, and this one is none; "
            "`peter task add NAME --method prune` derives one."
        )
    line = [older for older in setting.older() if older.method == NAME]
    claims = [claim(older, setting.root.kept, options.reads) for older in line]
    return OwnedWeights(
        setting.body, setting.root, claims, options.pruned, options.freed, setting.seed,
        options.norms, options.biases, line,
    )  # fmt: skip


def claim(older: Older, weights: Iterable[str], used: bool) -> Claim:
    """What an older task owns; it does so, too, where its values are not used."""
    tensors = older.tensors()
    places = {name: f"{TRUNK}values.{key(name)}" for name in weights}
    return Claim(
        {name: tensors[place + KEPT] for name, place in places.items()},
        {name: tensors[place] * used for name, place in places.items()},
    )


def descent(patch: DeepPatch, setting: Setting, options: Options, offsets: Offsets) -> Sequence[Phase]:
    """Train t, prune t, retrain t; every stage has a new optimizer, so that no momentum outlives it."""
    owned, tensors = patch.trunk, patch.descended()
    assert isinstance(owned, OwnedWeights)
    return [
        Gradient("train", tensors, offsets=offsets),
        ClosedForm("prune", lambda train, valid: owned.prune()),
        Gradient("retrain", tensors, offsets=offsets, after_step=owned.restore),
    ]


def peft(options: Options) -> Mapping[str, Any]:
    """Nothing that peft has a word for."""
    return {"peft_type": "PRUNE", "pruned": options.pruned, "modules_to_save": ["trunk"]}


def domains(shape: BackboneConfig) -> Mapping[str, Domain]:
    """Rates, what is read, how much is left free, and what free weights start from."""
    return {
        **rates(shape),
        "pruned": Choice((0.5, 0.7, 0.9)),
        "freed": Choice(("kept", "zeroed", "reinitialised")),
    }


plugin = Deep(Options, trunk, peft, domains, descent, rooted=True)
