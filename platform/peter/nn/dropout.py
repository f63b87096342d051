"""Dropout whose draws can be made again: of features, never of weights."""

import torch
from torch import Tensor, nn

from peter.nn.init import generator


class Dropout(nn.Module):
    """In training sets a share of the features to 0, by a draw that seed and number of the pass decide."""

    def __init__(self, rate: float, seed: int) -> None:
        super().__init__()
        self.rate, self.seed, self.passes = rate, seed, 0

    def forward(self, features: Tensor) -> Tensor:
        if not (self.training and self.rate):
            return features
        self.passes += 1
        draw = torch.rand(features.shape, generator=generator(self.seed, "dropout", self.passes))
        return features * (draw >= self.rate).to(features) / (1 - self.rate)
