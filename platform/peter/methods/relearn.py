"""The way from what is known of items to a frozen sequence encoder, learnt anew for each task."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch

from peter.config import BackboneConfig
from peter.errors import InputError
from peter.methods import ClosedForm, Examples, Gradient, Phase, Setting
from peter.methods._deep import Deep, DeepOptions, DeepPatch, Offsets, rates
from peter.nn.relearned import ItemScores, Relearned
from peter.space import Choice, Domain


@dataclass(frozen=True)
class Options(DeepOptions):
    """What `--set` may change. Nearest to ANT is readout=last wide=off warm_start=off, ids=on or off."""

    summary: bool = False  # on: read the body's own item table after all
    ids: bool = True  # learn a vector an item beside its features, and weights by item; off: features alone
    encoder: Literal["pretrained", "random"] = "pretrained"  # random: the control, of random blocks

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.deep and self.wide and not self.ids:
            raise InputError("With ids=off nothing is learnt by item, as wide=on does; add wide=off.")


def trunk(setting: Setting, options: Options) -> Relearned:
    """ANT (Peng, Du, Parthasarathy and Ning, 2023), its adaptation by re-learning.

    Of the authors' code: the blocks are frozen; the LayerNorm over items is carried over and trained on; all
    mixtures and the positions are drawn anew and learnt; `ids` is its transductive form, but that vectors of
    ids are no candidates. Ours: any kind of task, by peter's read-out and head; items that the labels ask
    for, and no others, are candidates; no dropout in the frozen blocks.
    """
    if setting.catalogue is None:
        raise InputError(
            "Method relearn needs a backbone that knows items by their features; pre-train one with "
            "`peter backbone pretrain DATA --objective item-feature`."
        )
    return Relearned(
        setting.body, setting.catalogue, setting.seed, options.ids, random=options.encoder == "random"
    )


def beside(setting: Setting, options: Options, width: int) -> ItemScores | None:
    """Where the outputs are items of which something is known, their scores by that."""
    if setting.asked is None:
        return None
    return ItemScores(width, setting.asked(), setting.body.channels, setting.seed)


def descent(patch: DeepPatch, setting: Setting, options: Options, offsets: Offsets) -> Sequence[Phase]:
    """All of it together; with ids=off, of a head that has weights for each item only its biases."""
    if options.ids or patch.beside is None:
        return [Gradient("adaptors", patch.descended(), offsets=offsets)]
    head = patch.head

    @torch.no_grad()
    def popularity(train: Examples, valid: Examples) -> None:
        for weight in (head.weight, head.down):
            if weight is not None:
                weight.zero_()
        head.bias.copy_(setting.kind.prior(train.targets, setting.schema))

    by_item = {id(head.weight), id(head.down)}
    moved = [parameter for parameter in patch.descended() if id(parameter) not in by_item]
    return [ClosedForm("popularity", popularity), Gradient("adaptors", moved, offsets=offsets)]


def peft(options: Options) -> Mapping[str, Any]:
    """Nothing that peft has a word for; what is carried over, and what is not, as ANT tells them apart."""
    frozen = {"blocks": options.encoder == "pretrained", "item_embedding": options.summary}
    return {
        "peft_type": "RELEARN",
        "frozen": [name for name, read in frozen.items() if read],
        "tuned": ["trunk.adaptors.encoder.norm", "trunk.adaptors.encoder.tokens"],
        "relearned": ["trunk.adaptors.encoder.mixtures", "trunk.before", "beside"],
        "modules_to_save": ["trunk"],
    }


def domains(shape: BackboneConfig) -> Mapping[str, Domain]:
    """Rates, what is read, and whether the blocks below it were worth carrying over."""
    return {**rates(shape), "encoder": Choice(("pretrained", "random"))}


plugin = Deep(Options, trunk, peft, domains, descent, beside=beside)
