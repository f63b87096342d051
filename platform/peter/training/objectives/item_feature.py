"""Next-item prediction by what is known of the items, none of which has a row of its own (ANT, 2023)."""

from dataclasses import replace

import torch
from torch import Tensor

from peter.config import PretrainConfig
from peter.data.histories import Histories
from peter.errors import InputError
from peter.nn.backbone import Backbone
from peter.training.batches import Batch
from peter.training.feature_model import FeatureModel
from peter.training.objectives import ItemFeatures
from peter.training.objectives.next_item import NextItem


class ItemFeature:
    """The questions of next-item, put to a `FeatureModel`."""

    causal = True
    compares = True  # items of one user with those of the others

    def __init__(self, config: PretrainConfig) -> None:
        if "+" in config.objective:
            raise InputError("The objective item-feature cannot be joined with others; give it alone.")
        if config.negatives:
            raise InputError("The objective item-feature compares the items of a batch; leave out negatives.")
        self.config, self.asking = config, NextItem(config)

    def windows(self, histories: Histories, length: int) -> Tensor:
        return self.asking.windows(histories, length)

    def batch(self, windows: Tensor, items: int, generator: torch.Generator) -> Batch:
        seed = int(torch.randint(2**62, (), generator=generator))
        return replace(self.asking.batch(windows, items, generator), seed=seed)

    def last(self, histories: Histories, length: int) -> tuple[Tensor, Tensor]:
        return self.asking.last(histories, length)

    def head(self, body: Backbone) -> None:
        return None

    def model(self, body: Backbone, counts: Tensor, features: ItemFeatures) -> FeatureModel:
        if (found := features()) is None:
            raise InputError(
                "The objective item-feature needs to know something of the items, by which they differ; "
                "give it with `peter data append NAME --items FILE`."
            )
        return FeatureModel(body, counts, found, self.config)


plugin = ItemFeature
