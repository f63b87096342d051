"""Soft masks over the frozen backbone's channels, which read those of other tasks."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from peter.config import BackboneConfig
from peter.errors import InputError
from peter.methods import Older, Setting
from peter.methods._deep import TRUNK, Deep, DeepOptions, rates
from peter.nn.mask import SoftMasks
from peter.space import Choice, Domain

EMBEDDING = f"{TRUNK}embedding"  # in the state dict of every patch of this method


@dataclass(frozen=True)
class Options(DeepOptions):
    """What `--set` may change."""

    sharpness: float = 50.0  # how much an embedding counts before the sigmoid; TERACON's s_max
    reads: bool = True  # read the embeddings of other tasks' champions of this method

    def __post_init__(self) -> None:
        DeepOptions.__post_init__(self)
        if not 0 < self.sharpness < float("inf"):
            raise InputError(f"sharpness={self.sharpness} cannot be used; give a number above 0.")


def trunk(setting: Setting, options: Options) -> SoftMasks:
    """After TERACON (Kim et al., KDD 2023), on a body that stays frozen.

    From the authors' code: an embedding a task and site, masks by a sigmoid behind each activation, and their
    relation to the tanh of other tasks' embeddings by a weight a site and task. Left out: training the shared
    weights, which is what makes older tasks forget, and with it a teacher's pseudo-labels and the shares rho
    of users that they are rehearsed on; annealing the sharpness, whose end would be nearly hard masks; and
    tanh(-e_i), which is -tanh(e_i), as a weight may be negative. Inferred: that the relation helps also where
    the body is not shared. Ours: 2 sigma, so that a fresh mask is 1, and the own embedding without tanh.
    """
    reads = [older for older in setting.older() if options.reads and _readable(older)]
    return SoftMasks(setting.body, [older.tensors()[EMBEDDING] for older in reads], options.sharpness, reads)


def _readable(older: Older) -> bool:
    return older.standing == "champion" and older.method == "mask" and bool(older.options["deep"])


def peft(options: Options) -> Mapping[str, Any]:
    """peft has no masks over activations but IA3's, which are neither bounded nor related."""
    return {"peft_type": "MASK", "sharpness": options.sharpness, "modules_to_save": [EMBEDDING]}


def domains(shape: BackboneConfig) -> Mapping[str, Domain]:
    """Rates, what is read, and sharpness."""
    return {**rates(shape), "sharpness": Choice((6.0, 12.0, 25.0, 50.0))}


plugin = Deep(Options, trunk, peft, domains)
