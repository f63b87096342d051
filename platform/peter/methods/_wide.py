"""Learning beside a wide term: what it would say of users it was not solved on, and how to add to that."""

from dataclasses import dataclass
from itertools import product

import torch
from torch import Tensor

from peter.methods import Examples, Setting
from peter.methods.bag import TfIdfLinear
from peter.task import LinearMap, cost

FOLDS = 5
MOST_STACKED = 64  # outputs; a matrix over more of them is not worth its numbers
SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)  # of the wide outputs and of the head's own, in a blend


@dataclass(frozen=True)
class Start:
    """A head to start from beside a wide term, whose outputs are to be followed by `mix` [K, K] or [1]."""

    head: LinearMap
    mix: Tensor

    def mixed(self, outputs: Tensor) -> Tensor:
        """Wide outputs [B, K], followed by `mix`."""
        return outputs * self.mix if self.mix.dim() < 2 else outputs @ self.mix.T


def out_of_fold(train: Examples, valid: Examples, setting: Setting) -> Tensor:
    """Wide outputs [B, K] of the training users, each from a term that was solved without the user.

    Outputs of users that a term was solved on look far too sure, and would leave the rest nothing to learn.
    """
    users = torch.arange(len(train.targets))
    outputs = torch.zeros(len(users), setting.outputs)
    for fold in range(FOLDS):
        held, rest = users[users % FOLDS == fold], users[users % FOLDS != fold]
        term = TfIdfLinear(setting)
        term.solve(Examples(train.histories.select(rest), train.targets[rest]), valid, setting)
        outputs[held] = term(setting.body, train.histories.select(held))
    return outputs


def beside(
    train: tuple[Tensor, Tensor],
    valid: tuple[Tensor, Tensor],
    offsets: Tensor,
    others: Tensor,
    setting: Setting,
) -> Start | None:
    """The best linear start beside wide outputs; None where validation users prefer these as they are.

    Args:
        train: features [B, F] and targets of training users, whose wide outputs are `offsets` [B, K].
        valid: the same of validation users, whose wide outputs are `others`.
    """
    if setting.kind.rank(setting.schema) is None and setting.outputs <= MOST_STACKED:
        return stacked(train, valid, offsets, others, setting)
    return blended(train, valid, others, setting)


def stacked(
    train: tuple[Tensor, Tensor],
    valid: tuple[Tensor, Tensor],
    offsets: Tensor,
    others: Tensor,
    setting: Setting,
) -> Start | None:
    """One convex fit over features and wide outputs together (Wolpert, Stacked generalization, 1992)."""
    scale = offsets.std().clamp(min=1e-6)  # brings them to the scale of standardised features
    joint = [
        (torch.cat([features, outputs / scale], dim=1), targets)
        for (features, targets), outputs in ((train, offsets), (valid, others))
    ]
    found = setting.kind.fit_linear(joint[0], joint[1], setting.schema)
    weight, bias = found.up, found.bias
    features, targets = joint[1]
    if setting.kind.loss(features @ weight.T + bias, targets) >= setting.kind.loss(others, targets):
        return None
    width = train[0].shape[1]
    return Start(LinearMap(weight[:, :width], bias), weight[:, width:] / scale)


def blended(
    train: tuple[Tensor, Tensor], valid: tuple[Tensor, Tensor], others: Tensor, setting: Setting
) -> Start | None:
    """A head solved alone, and the shares of both that validation users prefer: many outputs, two numbers."""
    kind = setting.kind
    found = kind.fit_linear(train, valid, setting.schema)
    inner = valid[0] if found.down is None else valid[0] @ found.down.T
    own = inner @ found.up.T + found.bias  # [B, K]
    lowest, best = _cost(others, valid[1], setting), None
    for wide, deep in product(SHARES, SHARES[1:]):
        if (score := _cost(wide * others + deep * own, valid[1], setting)) < lowest:
            head = LinearMap(deep * found.up, deep * found.bias, found.down)
            lowest, best = score, Start(head, torch.tensor([wide]))
    return best


def _cost(outputs: Tensor, targets: Tensor, setting: Setting) -> float:
    scores = setting.kind.metrics(outputs, targets, torch.ones(1, len(targets)))
    return float(cost(setting.kind, scores))
