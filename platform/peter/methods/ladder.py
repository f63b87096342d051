"""A side network that only reads the frozen backbone: one pass of the backbone serves all tasks."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from peter.config import BackboneConfig
from peter.errors import InputError
from peter.methods import Setting
from peter.methods._choices import bottleneck
from peter.methods._deep import Deep, DeepOptions, rates
from peter.nn.ladder import Ladder
from peter.space import Choice, Domain


@dataclass(frozen=True)
class Options(DeepOptions):
    """What `--set` may change."""

    reduction: int = 4  # C / D, how much narrower the side network is

    def __post_init__(self) -> None:
        DeepOptions.__post_init__(self)
        if self.tcl:
            raise InputError(
                "A ladder leaves the backbone's input alone, so tcl=on cannot be used; give tcl=off."
            )


def trunk(setting: Setting, options: Options) -> Ladder:
    """Ladder side-tuning (Sung et al., NeurIPS 2022), section 3."""
    return Ladder(setting.body, bottleneck(setting.body.channels, options.reduction), setting.seed)


def peft(options: Options) -> Mapping[str, Any]:
    """peft has no side networks; its word for the reduction."""
    return {"peft_type": "LADDER", "reduction_factor": options.reduction, "modules_to_save": ["trunk"]}


def domains(shape: BackboneConfig) -> Mapping[str, Domain]:
    """Rates, what is read, and width."""
    reductions = tuple(number for number in (1, 2, 4, 8) if number <= shape.channels)
    return {**rates(shape), "reduction": Choice(reductions)}


plugin = Deep(Options, trunk, peft, domains)
