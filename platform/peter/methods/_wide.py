"""Learning beside a wide term: what it would say of users it was not solved on, and how to add to that."""

import torch
from torch import Tensor

from peter.methods import Examples, Setting
from peter.methods.bag import TfIdfLinear

FOLDS = 5


def out_of_fold(train: Examples, valid: Examples, setting: Setting) -> Tensor:
    """Wide outputs [B, K] of the training users, each from a term that was solved without the user.

    Outputs of users that a term was solved on look far too sure, and would leave the rest nothing to learn.
    """
    users = torch.arange(len(train.targets))
    outputs = torch.zeros(len(users), setting.outputs)
    for fold in range(FOLDS):
        held, rest = users[users % FOLDS == fold], users[users % FOLDS != fold]
        term = TfIdfLinear(setting.items, setting.outputs)
        term.solve(Examples(train.histories.select(rest), train.targets[rest]), valid, setting)
        outputs[held] = term(setting.body, train.histories.select(held))
    return outputs


def stacked(
    train: tuple[Tensor, Tensor],
    valid: tuple[Tensor, Tensor],
    offsets: Tensor,
    others: Tensor,
    setting: Setting,
) -> tuple[Tensor, Tensor, Tensor] | None:
    """One convex fit over features and wide outputs together (Wolpert, Stacked generalization, 1992).

    Args:
        train: features [B, F] and targets of training users, whose wide outputs are `offsets` [B, K].
        valid: the same of validation users, whose wide outputs are `others`.

    Returns:
        Weight [K, F] and bias [K] for the features, and the matrix [K, K] that wide outputs are to
        be followed by; None where validation users prefer the wide outputs as they are.
    """
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
    return weight[:, :width], bias, weight[:, width:] / scale
