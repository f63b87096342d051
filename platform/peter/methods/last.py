"""The last blocks trained anew, everything below them frozen."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from peter.config import BackboneConfig
from peter.errors import InputError
from peter.methods import Setting
from peter.methods._deep import Deep, DeepOptions, rates
from peter.nn.copies import OwnTensors
from peter.space import Choice, Domain


@dataclass(frozen=True)
class Options(DeepOptions):
    """What `--set` may change."""

    blocks: int = 1  # how many, counted from the top


def trunk(setting: Setting, options: Options) -> OwnTensors:
    """FineLast, a baseline of PeterRec (Yuan et al., SIGIR 2020)."""
    blocks, every = setting.body.sites // 2, setting.body.state_dict()
    if not 1 <= options.blocks <= blocks:
        raise InputError(
            f"blocks={options.blocks} cannot be used; give a number from 1 to the backbone's {blocks} blocks."
        )
    names = setting.body.block_tensors(range(blocks - options.blocks, blocks))
    return OwnTensors({name: every[name] for name in names})


def peft(options: Options) -> Mapping[str, Any]:
    """Nothing that peft has a word for."""
    return {"peft_type": "LAST", "blocks": options.blocks, "modules_to_save": ["trunk"]}


def domains(shape: BackboneConfig) -> Mapping[str, Domain]:
    """Rates, what is read, and one block or two."""
    return {**rates(shape), "blocks": Choice(tuple(number for number in (1, 2) if number <= shape.blocks))}


plugin = Deep(Options, trunk, peft, domains)
