"""Items by what is known of them: a mixture of experts for each modality, and their fusion (ANT, 2023)."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from peter.nn.blocks import EPS
from peter.nn.dropout import thinned
from peter.nn.embedding import PAD, UNK
from peter.nn.init import STD, truncated_normal_

NUMBER = "number"  # the modality whose experts do not whiten: numbers, as price is one
TEXT = "text"
VECTOR = "vector"  # how the names of the modalities begin whose vectors somebody else has made
FLOOR = 0.01  # of the noise on gates
ROWS = 2**14  # items encoded at once where no gradient is asked for

Features = Mapping[str, Tensor]  # [N, F] float32 by modality; zeros where nothing is known of an item


class Mixture(nn.Module):
    """sum_k g_k(x) E_k(x) of one modality, over E experts [N, F] -> [N, C].

    E_k(x) = W_k (drop(x) - b_k) where it whitens, W_k drop(x) + b_k where it does not; gates are
    g(x) = softmax(x G + n * (softplus(x S) + 0.01)), with n standard normal in training and 0 otherwise
    (Shazeer et al., ICLR 2017). Of the authors' code of ANT (Peng et al., 2023): sizes, starts (G = S = 0,
    b = 0, W by Xavier), and that all modalities whiten but price; whitening is UniSRec's (KDD 2022).
    """

    def __init__(self, width: int, channels: int, experts: int, dropout: float, whitens: bool) -> None:
        super().__init__()
        self.dropout, self.whitens = dropout, whitens
        self.weight = nn.Parameter(torch.empty(experts, width, channels))  # W [E, F, C]
        self.shift = nn.Parameter(torch.empty(experts, width if whitens else channels))  # b
        self.gate = nn.Parameter(torch.empty(width, experts))  # G [F, E]
        self.noise = nn.Parameter(torch.empty(width, experts))  # S [F, E]

    def draw(self, seed: int, name: str) -> None:
        """Become fresh, with weights that `seed` and `name` decide."""
        _, width, channels = self.weight.shape
        truncated_normal_(self.weight.data, seed, f"{name}.weight", std=(2 / (width + channels)) ** 0.5)
        for zero in (self.shift, self.gate, self.noise):
            nn.init.zeros_(zero)

    def forward(self, x: Tensor, draws: torch.Generator | None = None) -> Tensor:
        """0 where nothing is known; noise and dropout where there is a generator to draw them."""
        gates = self.gates(x, draws).unsqueeze(-1)  # [N, E, 1]
        experts, width, channels = self.weight.shape
        if draws is not None:
            x = thinned(x, self.dropout, draws)
        each = (x @ self.weight.transpose(0, 1).reshape(width, -1)).view(
            len(x), experts, channels
        )  # [N, E, C]
        if self.whitens:
            each = each - (self.shift.unsqueeze(1) @ self.weight).squeeze(1)
        else:
            each = each + self.shift
        return (gates * each).sum(1)

    def gates(self, x: Tensor, draws: torch.Generator | None = None) -> Tensor:
        """g(x) [N, E]."""
        logits = x @ self.gate
        if draws is not None:
            normal = torch.randn(logits.shape, generator=draws).to(logits)
            logits = logits + normal * (F.softplus(x @ self.noise) + FLOOR)
        return logits.softmax(1)


class ItemEncoder(nn.Module):
    """E(i) = LN(sum_m a_m + beta sum_{m<n} a_m * a_n), a_m the mixture of modality m; [N, C].

    The sum of products is over modalities that whiten: ANT has text and image, whose product this is. A
    modality of which nothing is known adds nothing (in the authors' code the shift of its experts). The
    LayerNorm is ANT's on the input of the sequence encoder, here before positions are added, so that one
    vector an item is both what is read and what is scored, whatever the body.
    """

    def __init__(
        self,
        widths: Mapping[str, int],
        channels: int,
        experts: int = 8,
        dropout: float = 0.2,
        interaction: float = 0.1,
    ) -> None:
        super().__init__()
        self.interaction = interaction  # beta
        self.mixtures = nn.ModuleDict(
            {
                name: Mixture(width, channels, experts, dropout, whitens=name != NUMBER)
                for name, width in sorted(widths.items())
            }
        )
        self.norm = nn.LayerNorm(channels, eps=EPS)
        nn.init.constant_(self.norm.weight, STD)  # rows begin as large as those of a table
        self.tokens = nn.Parameter(torch.zeros(UNK + 1, channels))  # the reserved rows of the item table

    def draw(self, seed: int) -> None:
        """Fresh mixtures; the LayerNorm and the tokens stay what they are."""
        for name, mixture in self.each():
            mixture.draw(seed, f"items.{name}")

    def each(self) -> Iterator[tuple[str, Mixture]]:
        """The mixtures by modality."""
        for name, mixture in self.mixtures.items():
            assert isinstance(mixture, Mixture)
            yield name, mixture

    def parts(self, features: Features, draws: torch.Generator | None = None) -> dict[str, Tensor]:
        """a_m [N, C] by modality."""
        return {
            name: mixture(features[name], draws) * known(features[name]).unsqueeze(1)
            for name, mixture in self.each()
        }

    def fused(self, parts: Mapping[str, Tensor]) -> Tensor:
        """E [N, C] of a_m."""
        total = torch.stack(list(parts.values())).sum(0)
        whitened = [part for name, part in parts.items() if name != NUMBER]
        products = [one * other for one, other in combinations(whitened, 2)]
        if products:
            total = total + self.interaction * torch.stack(products).sum(0)
        normed: Tensor = self.norm(total)
        return normed

    def completed(self, items: Tensor, vectors: Tensor, features: Features) -> Tensor:
        """Rows `items` [N] of an item table: `vectors` [N, C], tokens where nothing is known; PAD has 0."""
        spare = self.tokens[items.clamp(max=UNK)] * (items != PAD).unsqueeze(1)
        return torch.where(described(features).unsqueeze(1), vectors, spare)

    def forward(self, items: Tensor, features: Features, draws: torch.Generator | None = None) -> Tensor:
        """Rows `items` [N] of an item table, [N, C], from their features [N, F]."""
        return self.completed(items, self.fused(self.parts(features, draws)), features)

    @torch.no_grad()
    def table(self, features: Features) -> Tensor:
        """The item table [V, C] of all rows."""
        rows = torch.arange(len(next(iter(features.values()))))
        return torch.cat([self(some, chosen(features, some)) for some in rows.split(ROWS)])


@dataclass(frozen=True)
class Catalogue:
    """What a body knows its items by, where its item table is what an encoder makes of their features."""

    encoder: ItemEncoder  # frozen
    features: Callable[[], Features]  # [V+N, F], by row of the item table and its later rows


def known(features: Tensor) -> Tensor:
    """[N] of which items [N, F] a modality says anything."""
    return (features != 0).any(1)


def described(features: Features) -> Tensor:
    """[N] of which items any modality says anything."""
    return torch.stack([known(values) for values in features.values()]).any(0)


def chosen(features: Features, items: Tensor) -> dict[str, Tensor]:
    """The features [n, F] of some items [n]."""
    return {name: values[items] for name, values in features.items()}
