"""What a backbone is pre-trained on. One file an objective, found by name (`next-item` is `next_item.py`).

Two names with a plus between them are learnt jointly: one that asks for items, and one that compares users.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, cast

import torch
from torch import Tensor

from peter import plugins
from peter.config import PretrainConfig
from peter.data.features import FittedFeatures
from peter.data.histories import Histories
from peter.errors import InputError
from peter.nn.backbone import Backbone
from peter.training.batches import Batch
from peter.training.contrast import Contrast
from peter.training.pretrain_model import PretrainModel

GROUP = "peter.objectives"
ItemFeatures = Callable[[], FittedFeatures | None]


class Objective(Protocol):
    """A way to ask about events, or users. Letters: W and B windows, L events a body reads, S = L or more."""

    @property
    def causal(self) -> bool | None:
        """The body that it needs; None: any."""

    @property
    def compares(self) -> bool:
        """Whether it compares the users of a batch, or their items: one process must see all of them."""

    def windows(self, histories: Histories, length: int) -> Tensor:
        """Windows [W, S] for bodies that read `length` events; the newest of a user comes last."""

    def batch(self, windows: Tensor, items: int, generator: torch.Generator) -> Batch:
        """The question of one step over windows [B, S]; `items` is V, the reserved rows included."""

    def last(self, histories: Histories, length: int) -> tuple[Tensor, Tensor] | None:
        """Asking for each user's newest event: inputs [B, L], at whose last place the answers [B] belong.

        None where it asks for no items.
        """

    def head(self, body: Backbone) -> Contrast | None:
        """What is trained beside the body, adds to the loss, and is no part of the backbone."""

    def model(self, body: Backbone, counts: Tensor, features: ItemFeatures) -> PretrainModel:
        """What is trained of which the body is a part.

        Args:
            counts: [V] how often training users have each item.
            features: fits and gives those of the items, None where nothing is known of them.
        """


@dataclass(frozen=True)
class Joint:
    """L = L_asking + weight * L_comparing, over windows of the former (as CL4SRec, Xie et al., ICDE 2022)."""

    asking: Objective
    comparing: Objective
    compares = True

    @property
    def causal(self) -> bool | None:
        """The body that the one needs that asks."""
        return self.asking.causal

    def windows(self, histories: Histories, length: int) -> Tensor:
        return self.asking.windows(histories, length)

    def batch(self, windows: Tensor, items: int, generator: torch.Generator) -> Batch:
        asked = self.asking.batch(windows, items, generator)
        return replace(asked, views=self.comparing.batch(windows, items, generator).views)

    def last(self, histories: Histories, length: int) -> tuple[Tensor, Tensor] | None:
        return self.asking.last(histories, length)

    def head(self, body: Backbone) -> Contrast | None:
        return self.comparing.head(body)

    def model(self, body: Backbone, counts: Tensor, features: ItemFeatures) -> PretrainModel:
        return self.asking.model(body, counts, features)


def objective(config: PretrainConfig, causal: bool) -> Objective:
    """The objective that `config` names, for a body that is causal or not.

    Raises:
        UnknownName: there is none of that name.
        InputError: it needs the other kind of body, or its parts cannot be joined.
    """
    parts = [_named(name, config) for name in config.objective.split("+")]
    found = parts[0] if len(parts) == 1 else _joint(parts, config)
    if found.causal not in (causal, None):
        kind, flag = ("causal", "--causal") if found.causal else ("non-causal", "--no-causal")
        raise InputError(f"The objective {config.objective} needs a {kind} backbone; add {flag}.")
    return found


def _named(name: str, config: PretrainConfig) -> Objective:
    plugin = plugins.load(GROUP, name.replace("-", "_"), "pre-training objective")
    return cast(Objective, plugin(config))


def _joint(parts: Sequence[Objective], config: PretrainConfig) -> Objective:
    asking, comparing = ([part for part in parts if part.compares == what] for what in (False, True))
    if len(asking) != 1 or len(comparing) != 1:
        raise InputError(
            f"The objectives of {config.objective} cannot be joined; "
            "give one that asks for items and contrastive, e.g. next-item+contrastive."
        )
    return Joint(asking[0], comparing[0])


def newest(histories: Histories, length: int) -> Tensor:
    """The newest window [B, L] of every user that has events."""
    windows = histories.windows(length)
    last = torch.cat([windows.user.diff() != 0, torch.ones(min(1, len(windows.user)), dtype=torch.bool)])
    return windows.items[last]
