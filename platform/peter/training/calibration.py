"""One number, fitted on validation users, that makes probabilities or intervals honest."""

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

COLDEST, HOTTEST = 0.5, 10.0  # few or perfectly separated validation users may not ask for more


def temperature(
    outputs: Tensor, targets: Tensor, log_loss: Callable[[Tensor, Tensor], Tensor] = functional.cross_entropy
) -> float:
    """T that minimises the log-loss of outputs [B, K] / T (Guo et al., ICML 2017, section 4.2).

    A log-loss is convex in 1/T, so a bounded search in one dimension finds the minimum. 1 without any user.
    """
    from scipy.optimize import minimize_scalar  # half a second to import: only those who fit pay it

    if not len(targets):
        return 1.0
    logits = outputs.double()

    def loss(inverse: float) -> float:
        return float(log_loss(logits * inverse, targets))

    with torch.inference_mode():
        found = minimize_scalar(
            loss, bounds=(1 / HOTTEST, 1 / COLDEST), method="bounded", options={"xatol": 1e-8}
        )
    return float(1 / found.x)


def conformal(residuals: Tensor, confidence: float) -> float:
    """Half-width within which a new user's residual falls with at least that chance, from residuals [B].

    Split conformal prediction (Lei et al., JASA 2018, section 2.2): the ceil((B + 1) confidence)-th smallest
    absolute residual, or the largest where users are too few; 0 without any.
    """
    users = len(residuals)
    if not users:
        return 0.0
    place = min(users, math.ceil((users + 1) * confidence))
    return float(residuals.abs().kthvalue(place).values)
