"""Several ways to answer, each judged on users that it was not solved on, and how much to believe each."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from peter.methods import Setting
from peter.task import LinearMap, Solvable

FOLDS = 5
MOST = 3.0  # that a part may count


@dataclass(frozen=True)
class Part:
    """One way to answer: a map, and what it says of users that it was not solved on."""

    found: LinearMap
    train: Tensor  # [B, K] out of fold
    valid: Tensor  # [B', K]


def solved(train: Solvable, valid: Solvable, setting: Setting) -> Part:
    """The kind's convex fit; each training user is answered by a fit on the other folds.

    Answers for users that a map was solved on look far too sure: whatever learns beside them would starve.
    All fits share one strength, so that training users choose it too: validation users alone are few.
    """
    features, targets = train
    fold = np.arange(len(targets)) % FOLDS
    parts = [(np.flatnonzero(fold != number), np.flatnonzero(fold == number)) for number in range(FOLDS)]
    fits = [((features[rest], targets[rest]), (features[held], targets[held])) for rest, held in parts]
    *found, whole = setting.kind.fit_linear([*fits, (train, valid)], setting.schema)
    outputs = torch.zeros(len(targets), setting.outputs)
    for (_, held), (_, others), one in zip(parts, fits, found, strict=True):
        outputs[held] = one.of(others[0])
    return Part(whole, outputs, whole.of(valid[0]))


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
