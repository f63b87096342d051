"""The directions in which the rows of a sparse table differ most."""

from typing import Any

import torch
from torch import Tensor


def components(table: Any, most: int) -> Tensor:
    """Truncated SVD (Deerwester et al., JASIS 1990) of a scipy table [N, W]: at most `most` rows [F, W]."""
    import numpy as np
    from sklearn.decomposition import TruncatedSVD
    from threadpoolctl import threadpool_limits

    # one thread, as the bits of a sum depend on it; rows that are all the same have no variance to divide by
    with threadpool_limits(1, user_api="blas"), np.errstate(divide="ignore", invalid="ignore"):
        found = TruncatedSVD(min(most, *table.shape), random_state=0).fit(table)
    return torch.from_numpy(found.components_).float()
