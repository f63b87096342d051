"""Two views of a user compared: the head that pre-training has for it, and leaves behind."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from peter.config import PretrainConfig
from peter.errors import InputError
from peter.nn.backbone import Backbone
from peter.nn.embedding import PAD
from peter.nn.graft import DropoutGraft, Graft
from peter.nn.init import initialise
from peter.nn.readout import EVENTS, POOLS, ReadOut, by_length, with_tokens

USER = ReadOut("last", tcl=True)  # how a user is read, here and by whoever sets readout=last tcl=on


@dataclass(frozen=True)
class View:
    """What one of the two encoders sees of the users of a batch."""

    items: Tensor  # [B, S] int64, left-padded
    seed: int  # of the dropout in it


class Contrast(nn.Module):
    """The head of CLUE (Cheng et al., ICDM 2021) over the state of [UR], which is the row [TCL] here.

    The paper's: a projection of three layers with batch normalisation behind each; a predictor of two layers
    with batch normalisation, in the branch that learns alone; dropout as the only augmentation unless others
    are asked for; the loss, equations 4 to 7. Inferred, as the paper does not say: all layers are C wide, and
    what is between them is as in SimSiam (Chen and He, CVPR 2021), whose predictor ends in a bare layer; to
    normalise there, too, made training unstable (their section 4.4). Ours: `infonce`, which needs no
    predictor.
    """

    def __init__(self, body: Backbone, config: PretrainConfig, weight: float) -> None:
        super().__init__()
        if USER.events(body) < 1:
            raise InputError(
                f"Windows of {body.max_length} have no room for an event beside the user's token; "
                "give --set max_length=50."
            )
        width = body.channels
        self.projector = nn.Sequential(*_layer(width), nn.ReLU(), *_layer(width), nn.ReLU(), *_layer(width))
        self.predictor = nn.Sequential(*_layer(width), nn.ReLU(), nn.Linear(width, width))
        self.config, self.weight = config, weight
        initialise(self, config.seed)
        for layer in self.modules():
            if isinstance(layer, nn.Linear):
                nn.init.zeros_(layer.bias)

    def forward(self, body: Backbone, views: Sequence[View], dtype: torch.dtype | None = None) -> Tensor:
        """The weighted loss of two views, a mean over users; `dtype` is that of the body's activations.

        A user alone counts nothing while training: there is nobody to be normalised with.
        """
        rate = self.config.view_dropout
        states = [
            state(body, view.items, DropoutGraft(rate, view.seed), dtype) for view in views
        ]  # [B, C] each
        if self.training and len(states[0]) == 1:
            return 0.0 * torch.cat(states).sum()
        one, two = (self.projector(each) for each in states)
        if self.config.contrast == "infonce":
            return self.weight * info_nce(one, two, self.config.temperature)
        loss = siamese(self.predictor(one), two) + siamese(self.predictor(two), one)
        return self.weight * loss / 2


@torch.no_grad()
def spread(body: Backbone, windows: Tensor) -> dict[str, float]:
    """How far, and in how many directions, the users of windows [W, S] differ in what a backbone keeps.

    deviation: sqrt(C) times the standard deviation of states of length 1, the mean over dimensions: 1 where
    users lie all around, 0 where all are one (SimSiam, section 4.1, but of states: no projection is kept).
    rank: the effective rank of the centred states (Roy and Vetterli, EUSIPCO 2007), 1 where all lie on one
    line, which the deviation does not see; C at most.
    """
    found = torch.cat([state(body, items) for _, items in by_length(windows, EVENTS)]).double()  # [W, C]
    deviation = F.normalize(found).std(0, correction=0).mean() * body.channels**0.5
    values = torch.linalg.eigvalsh(found.T.cov(correction=0)).clamp(min=1e-30).sqrt()  # [C]
    share = values / values.sum()
    return {"deviation": float(deviation), "rank": float(torch.special.entr(share).sum().exp())}


def state(
    body: Backbone, windows: Tensor, graft: Graft | None = None, dtype: torch.dtype | None = None
) -> Tensor:
    """[B, C] float32: the users of windows [B, S], whose oldest events make room for [UR]."""
    items = with_tokens(windows[:, -USER.events(body) :], body.causal).to(body.device)
    positions = (items != PAD).sum(1)  # [B]
    taken = POOLS[USER.name].take(body(items, graft, dtype), positions, body.causal)
    return taken / positions.unsqueeze(1)


def siamese(predicted: Tensor, target: Tensor) -> Tensor:
    """-cos, a mean over rows [B, C]; no gradient reaches the target (CLUE, equations 4 to 6)."""
    return -F.cosine_similarity(predicted, target.detach()).mean()


def info_nce(one: Tensor, two: Tensor, temperature: float) -> Tensor:
    """Cross-entropy of each row [B, C] finding its own in the other view among all of the batch, both ways.

    Two windows of one user that meet in a batch count as different users.
    """
    scores = F.normalize(one) @ F.normalize(two).T / temperature  # [B, B]
    own = torch.arange(len(one), device=one.device)
    return (F.cross_entropy(scores, own) + F.cross_entropy(scores.T, own)) / 2


def _layer(width: int) -> tuple[nn.Module, nn.Module]:
    return nn.Linear(width, width), nn.BatchNorm1d(width)
