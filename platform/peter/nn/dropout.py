"""Noise whose draws can be made again: dropout of features, never of weights; and noise on gates."""

import torch
from torch import Tensor, nn

from peter.nn.init import generator


class Draws(nn.Module):
    """A generator for each pass in training, decided by the seed, its purpose and the number of the pass."""

    def __init__(self, seed: int, what: str) -> None:
        super().__init__()
        self.seed, self.what, self.passes = seed, what, 0

    def forward(self) -> torch.Generator:
        self.passes += 1
        return generator(self.seed, self.what, self.passes)

    def again(self) -> None:
        """Let the next pass draw what the last one drew."""
        self.passes = max(0, self.passes - 1)


def thinned(features: Tensor, rate: float, draws: torch.Generator) -> Tensor:
    """Features with a share of them drawn to be 0, the others larger."""
    kept = torch.rand(features.shape, generator=draws) >= rate
    return features * kept.to(features) / (1 - rate)


class Dropout(nn.Module):
    """In training sets a share of the features to 0, by a draw that seed and number of the pass decide."""

    def __init__(self, rate: float, seed: int) -> None:
        super().__init__()
        self.rate, self.draws = rate, Draws(seed, "dropout")

    def forward(self, features: Tensor) -> Tensor:
        if not (self.training and self.rate):
            return features
        return thinned(features, self.rate, self.draws())


class Logistic(nn.Module):
    """Noise of a standard logistic, the difference of two Gumbels; 0 where no gradient is asked for."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.draws = Draws(seed, "logistic")

    @property
    def noisy(self) -> bool:
        """Whether it is more than 0."""
        return self.training and torch.is_grad_enabled()

    def forward(self, logits: Tensor) -> Tensor:
        if not self.noisy:
            return torch.zeros_like(logits)
        draw = torch.rand(logits.shape, generator=self.draws())
        return draw.logit(eps=1e-6).to(logits)
