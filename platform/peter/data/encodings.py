"""Columns of an item table as numbers, a row of zeros where nothing is said of an item."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import polars as pl
import torch
from torch import Tensor

from peter.data.svd import components
from peter.errors import InputError

PLACES = 2**13  # that words are hashed into
COMPONENTS = 128  # of words, at most
NOTHING = 1e-4  # that rounding says of an item
BUMPS = 16  # that stand for a number
SENTENCE = 256  # numbers that stand for a text
GRID = np.linspace(0, 1, 65)  # shares of items at which a column of numbers is kept; straight lines between

Fitted = Mapping[str, Tensor]
Vectors = tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]  # [N, F] of items, and of which there is one


class Encoding(Protocol):
    """Columns [N] of one modality as numbers [N, F]."""

    def fit(self, rows: pl.DataFrame) -> dict[str, Tensor]:
        """What is to be kept of the items that it is fitted on; nothing where they would all be zeros."""

    def numbers(self, rows: pl.DataFrame, fitted: Fitted) -> Tensor:
        """[N, F] float32 of any items."""


@dataclass(frozen=True)
class Hashed:
    """Words hashed into places, l2-normalised (1 + log tf) * idf of these, and their SVD."""

    words: Callable[[pl.DataFrame], list[list[str]]]  # of each item

    def fit(self, rows: pl.DataFrame) -> dict[str, Tensor]:
        from sklearn.feature_extraction.text import TfidfTransformer

        counts = self._counts(rows)
        if not counts.nnz:
            return {}
        transformer = TfidfTransformer(sublinear_tf=True).fit(counts)
        weighted = transformer.transform(counts)
        axes = components(weighted, COMPONENTS) * torch.from_numpy(counts.getnnz(0) > 0)
        reached = abs(weighted @ axes.numpy().T).max(0) > NOTHING  # by items; the rest points anywhere
        return {"idf": torch.from_numpy(transformer.idf_).float(), "axes": axes[torch.from_numpy(reached)]}

    def numbers(self, rows: pl.DataFrame, fitted: Fitted) -> Tensor:
        from sklearn.feature_extraction.text import TfidfTransformer

        transformer = TfidfTransformer(sublinear_tf=True)
        transformer.idf_ = fitted["idf"].double().numpy()
        weighted = transformer.transform(self._counts(rows))
        return torch.from_numpy(weighted @ fitted["axes"].double().numpy().T).float()

    def _counts(self, rows: pl.DataFrame) -> Any:
        from sklearn.feature_extraction.text import HashingVectorizer

        hasher = HashingVectorizer(analyzer=list, n_features=PLACES, norm=None, alternate_sign=False)
        return hasher.transform(self.words(rows))


class Ranked:
    """Numbers by their rank among the items that were fitted, each as bumps along (0, 1).

    How price becomes numbers is not in the authors' code of ANT; ranks are the same for any unit.
    """

    def fit(self, rows: pl.DataFrame) -> dict[str, Tensor]:
        known = [column.drop_nulls().to_numpy() for column in rows]
        grids = [np.quantile(values, GRID) if len(values) else GRID for values in known]
        return {"grid": torch.from_numpy(np.stack(grids))}

    def numbers(self, rows: pl.DataFrame, fitted: Fitted) -> Tensor:
        columns = zip(rows, fitted["grid"].numpy(), strict=True)
        return torch.cat([_bumps(column.to_numpy(), grid) for column, grid in columns], dim=1)


@dataclass(frozen=True)
class Centred:
    """Vectors that somebody else has made, of mean 0 and, over their dimensions, of variance 1 on average."""

    vectors: Callable[[pl.DataFrame], Vectors]

    def fit(self, rows: pl.DataFrame) -> dict[str, Tensor]:
        vectors, there = self.vectors(rows)
        own = torch.from_numpy(vectors[there])
        if torch.equal(own, own[:1].expand_as(own)):
            return {}
        return {"mean": own.mean(0), "scale": own.var(0, correction=0).mean().sqrt().clamp(min=1e-12)}

    def numbers(self, rows: pl.DataFrame, fitted: Fitted) -> Tensor:
        vectors, there = map(torch.from_numpy, self.vectors(rows))
        return (vectors - fitted["mean"]) / fitted["scale"] * there.unsqueeze(1)


def words(rows: pl.DataFrame) -> list[list[str]]:
    """The words of all texts of each item, in small letters."""
    return [re.findall(r"\w+", text.lower()) for text in _joined(rows)]


def categories(rows: pl.DataFrame) -> list[list[str]]:
    """The categories of each item, each under its column's name."""
    return [
        [f"{name}={value}" for name, values in row.items() for value in values or ()]
        for row in rows.iter_rows(named=True)
    ]


def given(rows: pl.DataFrame) -> Vectors:
    """The vectors of the only column."""
    (column,) = rows
    there = column.is_not_null().to_numpy()
    vectors = np.zeros((len(column), column.dtype.shape[0]), np.float32)  # type: ignore[attr-defined]
    vectors[there] = column.drop_nulls().to_numpy()
    return vectors, there


def sentences(rows: pl.DataFrame) -> Vectors:
    """What the sentence model makes of all texts of each item."""
    texts = pl.Series(_joined(rows))
    there = (texts.str.strip_chars() != "").to_numpy()
    vectors = np.zeros((len(texts), SENTENCE), np.float32)
    vectors[there] = _model().embed(texts.filter(there).to_list(), norm=True)
    return vectors, there


TEXTS: Mapping[str, Encoding] = {"hashed": Hashed(words), "wordllama": Centred(sentences)}


@cache
def _model() -> Any:
    """WordLlama (Miller, 2024), whose weights come with the package; it looks for them beside a cache.

    Raises:
        InputError: it is not installed.
    """
    try:
        import wordllama
    except ImportError:
        raise InputError(
            "text_encoder=wordllama needs a package; type: pip install peter-rec[sentences], "
            "or leave it out for hashed words."
        ) from None
    return wordllama.WordLlama.load(cache_dir=Path(wordllama.__file__).parent, disable_download=True)


def _joined(rows: pl.DataFrame) -> Sequence[str]:
    return [" ".join(text for text in row if text) for row in rows.iter_rows()]


def _bumps(values: npt.NDArray[np.float64], grid: npt.NDArray[np.float64]) -> Tensor:
    """[N, BUMPS] of numbers [N] that are not, where unknown."""
    rank = torch.from_numpy(np.interp(values, grid, GRID))  # [N]
    centres = (torch.arange(BUMPS) + 0.5) / BUMPS
    bumps = torch.exp(-((rank.unsqueeze(1) - centres) * BUMPS).square() / 2)
    return torch.where(torch.from_numpy(np.isnan(values)).unsqueeze(1), 0, bumps).float()
