"""Several ways to answer, each judged on users that it was not solved on, and how much to believe each."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from peter.methods import Setting
from peter.task import LinearMap

FOLDS = 5
MOST = 3.0  # that a part may count

Solvable = tuple[Any, Tensor]  # features [B, F], a dense tensor or a scipy CSR matrix, and targets


@dataclass(frozen=True)
class Part:
    """One way to answer: a map, and what it says of users that it was not solved on."""

    found: LinearMap
    train: Tensor  # [B, K] out of fold
    valid: Tensor  # [B', K]


def solved(train: Solvable, valid: Solvable, setting: Setting) -> Part:
    """The kind's convex fit; each training user is answered by a fit on the other folds.

    Answers for users that a map was solved on look far too sure: whatever learns beside them would starve.
    """
    features, targets = train
    users = np.arange(len(targets))
    outputs = torch.zeros(len(targets), setting.outputs)
    for fold in range(FOLDS):
        held, rest = users[users % FOLDS == fold], users[users % FOLDS != fold]
        found = setting.kind.fit_linear((features[rest], targets[rest]), valid, setting.schema)
        outputs[held] = _answers(features[held], found)
    found = setting.kind.fit_linear(train, valid, setting.schema)
    return Part(found, outputs, _answers(valid[0], found))


def pooled(parts: Sequence[Part], train: Tensor, valid: Tensor, setting: Setting) -> list[float]:
    """How much each part counts, at least 0: the weighted sum of outputs with the least loss on all users.

    A few numbers and hundreds of users: a part that knows nothing new gets nothing (stacking, Wolpert, 1992,
    under weights that are not negative, Breiman, 1996).
    """
    from scipy.optimize import minimize  # half a second to import: only those who fit pay it

    outputs = torch.stack([torch.cat([part.train, part.valid]) for part in parts]).double()  # [n, B, K]
    targets = torch.cat([train, valid])

    def loss(shares: Any) -> tuple[float, Any]:
        wanted = torch.tensor(shares, requires_grad=True)  # [n]
        value = setting.kind.loss(torch.einsum("n,nbk->bk", wanted, outputs), targets)
        (slope,) = torch.autograd.grad(value, wanted)
        return value.item(), slope.numpy()

    with torch.enable_grad():
        start = np.full(len(parts), 1 / len(parts))
        found = minimize(loss, start, jac=True, bounds=[(0, MOST)] * len(parts), method="L-BFGS-B")
    return [float(share) for share in found.x]


def _answers(features: Any, found: LinearMap) -> Tensor:
    """Outputs [B, K] of a map on features [B, F]."""
    first = found.up if found.down is None else found.down
    if isinstance(features, Tensor):
        inner = features @ first.T
    else:
        inner = torch.from_numpy(features @ first.numpy().T).float()
    return (inner if found.down is None else inner @ found.up.T) + found.bias
