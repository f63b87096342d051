"""Ridge regression of many outputs on many features, of low rank, cheap for one strength after another."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

EXACT = 4096  # users or features, the fewer of both, above which only the largest directions are found
LARGEST = 512  # of these
NOTHING = 1e-10  # share of the largest direction's power below which a direction is rounding

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Directions:
    """Users in the principal directions of their features [B, F]; ridge regression treats each by itself."""

    features: Any  # a dense array or a scipy CSR matrix
    mean: Floats  # [F]
    power: Floats  # [P], the largest first: squared singular values of the centred features
    places: Floats  # [B, P]

    def maps(self, coefficients: Floats) -> Floats:
        """Coefficients [R, P] of places as those [R, F] of centred features; the directions never exist."""
        found: Floats = np.asarray(self.features.T @ (self.places @ (coefficients / self.power).T)).T
        return found


def directions(features: Any) -> Directions:
    """Of a dense array or a scipy CSR matrix [B, F], through the smaller of its two Gram matrices."""
    users, width = features.shape
    mean = np.asarray(features.mean(axis=0)).ravel()
    if min(users, width) > EXACT:
        return _largest(features, mean)
    if width <= users:
        power, axes = _eigen(_dense(features.T @ features) - users * np.outer(mean, mean))
        return Directions(features, mean, power, np.asarray(features @ axes) - mean @ axes)
    gram = _dense(features @ features.T)
    power, places = _eigen(gram - gram.mean(0) - gram.mean(1)[:, None] + gram.mean())
    return Directions(features, mean, power, places * np.sqrt(power))


def reduced_rank(found: Directions, products: Floats, strength: float, rank: int) -> tuple[Floats, Floats]:
    """The best map of at most `rank` to outputs, for users' places times targets, products [P, K].

    Reduced-rank regression (Izenman, 1975) under the ridge penalty: the leading directions of what the
    full-rank fit says (Mukherjee and Zhu, 2011).

    Returns:
        up [K, R] and down [R, F] of centred features; what the rank does not fill is zero.
    """
    from sklearn.utils.extmath import randomized_svd

    up, down = np.zeros((products.shape[1], rank)), np.zeros((rank, len(found.mean)))
    if not products.size:  # nothing tells one user from another
        return up, down
    shrunk = 1 / np.sqrt(found.power + strength)  # [P]
    left, size, right = randomized_svd(
        shrunk[:, None] * products, min(rank, *products.shape), n_iter=6, random_state=0
    )
    up[:, : len(size)] = right.T * np.sqrt(size)
    down[: len(size)] = found.maps(np.sqrt(size)[:, None] * (left.T * shrunk))
    return up, down


def _eigen(gram: Floats) -> tuple[Floats, Floats]:
    """Eigenvalues [P] and vectors [n, P] of a positive matrix, the largest first, without rounding's own."""
    power, vectors = np.linalg.eigh(gram)
    kept = np.flatnonzero(power > NOTHING * max(power[-1], 0))[::-1]
    return power[kept], vectors[:, kept]


def _largest(features: Any, mean: Floats) -> Directions:
    from scipy.sparse import issparse
    from sklearn.decomposition import PCA

    solver = "arpack" if issparse(features) else "randomized"
    model = PCA(LARGEST, svd_solver=solver, random_state=0)
    places = model.fit_transform(features)
    return Directions(features, mean, np.square(model.singular_values_), places)


def _dense(matrix: Any) -> Floats:
    dense: Floats = matrix.toarray() if hasattr(matrix, "toarray") else matrix
    return dense
