"""The default: PeterRec's patches in the frozen backbone, its whole history read, beside a wide term."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from peter.config import BackboneConfig
from peter.methods import Setting
from peter.methods._choices import bottleneck, span
from peter.methods._deep import Deep, DeepOptions, rates
from peter.nn.experts import of_patches
from peter.nn.patch import PatchGraft
from peter.space import Choice, Domain


@dataclass(frozen=True)
class Options(DeepOptions):
    """What `--set` may change."""

    insertion: Literal[
        "serial2", "serial1", "serial1-inner", "parallel", "parallel-delta", "parallel-after"
    ] = "serial2"  # the paper's figure 3 b, c, c in the authors' code, d, d without its inner identity, e
    reduction: int = 8  # C / D; PeterRec's own setting
    activation: Literal["gelu", "relu", "leaky_relu"] = "gelu"
    blocks: str = "all"  # none, or "6:8", the last two of eight: cheaper, as nothing below them descends
    second_norm: bool = True  # train a copy of each patched block's second LayerNorm


def trunk(setting: Setting, options: Options) -> PatchGraft:
    """PeterRec (Yuan et al., SIGIR 2020), section 3.3."""
    return PatchGraft(
        setting.body,
        bottleneck(setting.body.channels, options.reduction),
        setting.seed,
        span(options.blocks),
        options.activation,
        options.second_norm,
        options.insertion,
    )


def peft(options: Options) -> Mapping[str, Any]:
    """As peft calls a bottleneck adapter's settings."""
    return {
        "peft_type": "BOTTLENECK",
        "reduction_factor": options.reduction,
        "non_linearity": options.activation,
        "is_parallel": options.insertion.startswith("parallel"),
        "insertion": options.insertion,
        "modules_to_save": ["trunk.norms"] if options.second_norm else [],
    }


def domains(shape: BackboneConfig) -> Mapping[str, Domain]:
    """Rates, what is read, how wide the patches are, where they sit and how they are joined."""
    blocks = shape.blocks
    spans = (f"{first}:{blocks}" for first in (blocks // 2, blocks - 2) if 0 < first < blocks)
    return {
        **rates(shape),
        "reduction": Choice(tuple(number for number in (4, 8, 16) if number <= shape.channels) or (1,)),
        "blocks": Choice(("all", *dict.fromkeys(spans))),
        "insertion": Choice(("serial2", "serial1", "parallel", "parallel-after")),
    }


plugin = Deep(Options, trunk, peft, domains, experts=of_patches)
