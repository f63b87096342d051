"""The default's patches beside what other tasks' patches have learnt, which they read and never write."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, Literal

from torch import nn

from peter import plugins
from peter.config import BackboneConfig, from_dict
from peter.errors import InputError
from peter.methods import GROUP, Older, Setting, method, peter
from peter.methods._choices import span
from peter.methods._deep import TRUNK, Deep
from peter.nn.experts import ExpertGraft, Experts, of_patches
from peter.nn.patch import require_blocks
from peter.space import Choice, Domain


@dataclass(frozen=True)
class Options(peter.Options):
    """What `--set` may change."""

    insertion: Literal["serial2", "serial1", "serial1-inner", "parallel-delta"] = "serial2"  # fresh: the body
    reads: bool = True  # read the champions of other tasks; off: exactly the method peter
    most: int = 16  # champions to read, the newest: answering costs as much as so many patches

    def __post_init__(self) -> None:
        peter.Options.__post_init__(self)
        if self.most < 1:
            raise InputError(f"most={self.most} cannot be used; give a number from 1, or reads=off.")


def trunk(setting: Setting, options: Options) -> ExpertGraft:
    """After "Evolving Mixture of Low-Rank Experts for Continual User Modeling" (ECIR 2026).

    At a site with own patch (U, V, b, c) and older patches k, h being what each patch reads there,

        y + U phi(V h + b) + c + sum_k sum_r a_{k,r} u_{k,r} phi_k(v_{k,r} . h + b_{k,r}),

    with every u, v and b of an older patch as it was registered, and a as `nn.experts.Mixture` has it. From
    the paper's abstract: a frozen body, adapters read as rank-1 experts, attention over those of past tasks,
    none of which is changed. Inferred: attention is a vector a task and site, not one a user. Ours: model
    patches with their nonlinearity, so that directions are as they were trained and no singular vectors; keys
    made of the u; the signed gate that starts at 0; champions alone, and a limit to their number.
    """
    found = _readable(setting, options) if options.reads else []
    return ExpertGraft(
        peter.trunk(setting, options), [experts for _, experts in found], [older for older, _ in found]
    )


def _readable(setting: Setting, options: Options) -> list[tuple[Older, Experts]]:
    """The newest champions of other tasks that have directions in the blocks to patch, oldest first."""
    blocks = require_blocks(span(options.blocks), setting.body)
    champions = (older for older in reversed(setting.older()) if older.standing == "champion")
    pairs = ((older, _experts(setting, older, blocks)) for older in champions)
    return list(islice((pair for pair in pairs if pair[1]), options.most))[::-1]


def _experts(setting: Setting, older: Older, blocks: range) -> Experts:
    """An older patch's directions in some blocks; none where its method has none, or is not installed."""
    made = method(older.method) if older.method in plugins.modules(GROUP) else None
    if not isinstance(made, Deep) or made.experts is None:
        return {}
    options = from_dict(made.options, older.options)
    if not options.deep:
        return {}
    trunk = made.trunk(replace(setting, older=tuple), options)
    assert isinstance(trunk, nn.Module)
    experts = {site: expert for site, expert in made.experts(trunk).items() if site // 2 in blocks}
    if experts:
        tensors = older.tensors()
        trunk.load_state_dict({name: tensors[TRUNK + name] for name in trunk.state_dict()})
        trunk.requires_grad_(False)
    return experts


def of_own(graft: ExpertGraft) -> Experts:
    """What others may read of it: its own patches, not what it reads itself."""
    return of_patches(graft.own)


def peft(options: Options) -> Mapping[str, Any]:
    """As of the default, whose patches are a part of this trunk."""
    told = peter.peft(options)
    saved = [name.replace("trunk", "trunk.own") for name in told["modules_to_save"]]
    return {**told, "peft_type": "BOTTLENECK_EXPERTS", "modules_to_save": saved}


def domains(shape: BackboneConfig) -> Mapping[str, Domain]:
    """As the default's, but for patches that do not start as the body."""
    return {**peter.domains(shape), "insertion": Choice(("serial2", "serial1", "parallel-delta"))}


plugin = Deep(Options, trunk, peft, domains, experts=of_own)
