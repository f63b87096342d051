"""Temperature scaling: one number, fitted on validation users, that makes probabilities honest."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

COLDEST, HOTTEST = 0.5, 10.0  # few or perfectly separated validation users may not ask for more


def temperature(
    outputs: Tensor, targets: Tensor, log_loss: Callable[[Tensor, Tensor], Tensor] = functional.cross_entropy
) -> float:
    """T that minimises the log-loss of outputs [B, K] / T (Guo et al., ICML 2017, section 4.2).

    The log-loss is convex in 1/T, so a bounded search in one dimension finds the minimum. 1 without any user.
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
