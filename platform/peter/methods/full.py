"""The whole backbone trained anew for one task: what patches are to reach at a fraction of the numbers."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from peter.methods import Setting
from peter.methods._deep import Deep, DeepOptions
from peter.nn.copies import OwnTensors


@dataclass(frozen=True)
class Options(DeepOptions):
    """What `--set` may change."""


def trunk(setting: Setting, options: Options) -> OwnTensors:
    """FineAll, a baseline of PeterRec (Yuan et al., SIGIR 2020)."""
    return OwnTensors(setting.body.state_dict())


def peft(options: Options) -> Mapping[str, Any]:
    """Nothing that peft has a word for."""
    return {"peft_type": "FULL", "modules_to_save": ["trunk"]}


plugin = Deep(Options, trunk, peft)
