"""Two views of a user are to agree (CLUE, Cheng et al., ICDM 2021); alone, or as `next-item+contrastive`."""

import torch
from torch import Tensor

from peter.config import PretrainConfig
from peter.data.augmentations import AUGMENTATIONS
from peter.data.histories import Histories
from peter.errors import InputError, UnknownName
from peter.nn.backbone import Backbone
from peter.training.batches import Batch
from peter.training.contrast import Contrast, View
from peter.training.objectives import ItemFeatures
from peter.training.pretrain_model import TableModel


class Contrastive:
    """CLUE takes a user for one sequence; here each window of a long history stands for its user (inferred).

    Explicit augmentations, if any are chosen, are drawn for each user and view.
    """

    causal = None
    compares = True

    def __init__(self, config: PretrainConfig) -> None:
        for name in config.augment:
            if name not in AUGMENTATIONS:
                raise UnknownName("augmentation", name, AUGMENTATIONS)
        if not config.view_dropout and not config.augment:
            raise InputError("Both views of a user would be the same; give view_dropout=0.5 or augment=mask.")
        if config.batch_size < 2:
            raise InputError(
                "The objective contrastive compares users of a batch; give batch_size=2 or more."
            )
        self.config = config

    def windows(self, histories: Histories, length: int) -> Tensor:
        return histories.windows(length).items  # [W, L]

    def batch(self, windows: Tensor, items: int, generator: torch.Generator) -> Batch:
        views = tuple(
            View(self._augmented(windows, generator), int(torch.randint(2**62, (), generator=generator)))
            for _ in range(2)
        )
        return Batch(windows, torch.zeros_like(windows), views)

    def last(self, histories: Histories, length: int) -> None:
        return None

    def head(self, body: Backbone) -> Contrast:
        joint = "+" in self.config.objective
        return Contrast(body, self.config, self.config.contrast_weight if joint else 1.0)

    def model(self, body: Backbone, counts: Tensor, features: ItemFeatures) -> TableModel:
        return TableModel(body, len(counts))

    def _augmented(self, windows: Tensor, generator: torch.Generator) -> Tensor:
        names = self.config.augment
        if not names:
            return windows
        each = [AUGMENTATIONS[name](windows, self.config.augment_share, generator) for name in names]
        drawn = torch.randint(len(names), (len(windows),), generator=generator)
        return torch.stack(each)[drawn, torch.arange(len(windows))]  # [B, S]


plugin = Contrastive
