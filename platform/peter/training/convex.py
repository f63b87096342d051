"""Convex fits along a path of strengths: all share one, which users that no fit has seen choose."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

from torch import Tensor

from peter.task import LinearMap, Loss, Solvable

PATIENCE = 2  # strengths in a row that may be worse before the search ends


def chosen(path: Iterable[Sequence[LinearMap]], held: Sequence[Solvable], loss: Loss) -> list[LinearMap]:
    """The maps, one a fit, of the strength with the least mean loss over all users that are held out.

    Args:
        path: every fit's map for one strength after another, the most cautious first, which stands where
            nobody is held out.
        held: of every fit, users that it has not seen.
    """
    from threadpoolctl import threadpool_limits  # it reads the process's whole memory map: once a search

    lowest, best, worse = math.inf, list[LinearMap](), 0
    # threads of BLAS and of torch wait for each other's cores: one is 30 times faster than two
    with threadpool_limits(1, user_api="blas"):
        for maps in path:
            total = math.fsum(_total(*each, loss) for each in zip(maps, held, strict=True))
            if not best or total < lowest:
                lowest, best, worse = total, list(maps), 0
            elif (worse := worse + 1) == PATIENCE:
                break
    return best


def array(features: Any) -> Any:
    """Features for scikit-learn, in double precision: single stalls its solvers."""
    return (features.numpy() if isinstance(features, Tensor) else features).astype("float64")


def _total(found: LinearMap, held: Solvable, loss: Loss) -> float:
    features, targets = held
    return len(targets) * float(loss(found.of(features), targets)) if len(targets) else 0.0
