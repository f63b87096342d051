"""Low-rank deltas on the frozen dilated convolutions, which stock peft cannot patch."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from peter.config import BackboneConfig
from peter.methods import Setting
from peter.methods._choices import span
from peter.methods._deep import Deep, DeepOptions, rates
from peter.nn.experts import of_deltas
from peter.nn.lowrank import LowRankGraft
from peter.space import Choice, Domain


@dataclass(frozen=True)
class Options(DeepOptions):
    """What `--set` may change."""

    rank: int = 8  # R
    alpha: float = 8.0  # a delta is scaled by alpha / rank
    blocks: str = "all"  # or "6:8", the last two of eight


def trunk(setting: Setting, options: Options) -> LowRankGraft:
    """LoRA (Hu et al., 2021), section 4.1."""
    return LowRankGraft(setting.body, options.rank, options.alpha, setting.seed, span(options.blocks))


def peft(options: Options) -> Mapping[str, Any]:
    """As peft calls LoRA's settings."""
    return {"peft_type": "LORA", "r": options.rank, "lora_alpha": options.alpha, "bias": "none"}


def domains(shape: BackboneConfig) -> Mapping[str, Domain]:
    """Rates, what is read, rank, and how much a delta counts."""
    ranks = tuple(number for number in (4, 8, 16) if number <= shape.channels) or (1,)
    return {**rates(shape), "rank": Choice(ranks), "alpha": Choice((4.0, 8.0, 16.0, 32.0))}


plugin = Deep(Options, trunk, peft, domains, experts=of_deltas)
