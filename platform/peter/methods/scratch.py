"""The same architecture from random values, all of it trained: what pre-training is worth, or costs.

Its wide term is that of the other methods, so that the difference is the backbone's alone.
"""

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
    """FineZero of PeterRec (Yuan et al., SIGIR 2020), and ANT's twin that shows negative transfer."""
    return OwnTensors(setting.body.fresh(setting.seed).state_dict())


def peft(options: Options) -> Mapping[str, Any]:
    """Nothing that peft has a word for."""
    return {"peft_type": "SCRATCH", "modules_to_save": ["trunk"]}


plugin = Deep(Options, trunk, peft)
