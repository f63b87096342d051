"""How often each user has each item, and what is read from it."""

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from peter.data.histories import RESERVED, Histories
from peter.data.svd import components


@dataclass(frozen=True)
class Counts:
    """N pairs of a user and an item that occurs in the user's history, in order of user, then item."""

    user: Tensor  # [N] int64
    item: Tensor  # [N] int64
    count: Tensor  # [N] int64


def counts(histories: Histories, items: int) -> Counts:
    """How often each user has each item; reserved rows and items that came later than V are left out."""
    known = (histories.items >= RESERVED) & (histories.items < items)
    cells, count = (histories.user * items + histories.items)[known].unique(return_counts=True)
    return Counts(cells // items, cells % items, count)


def matrix(histories: Histories, items: int) -> Any:
    """Counts as a scipy CSR matrix [B, V - RESERVED]."""
    from scipy.sparse import csr_matrix  # slow to import; answering needs none

    found = counts(histories, items)
    cells = found.user.numpy(), (found.item - RESERVED).numpy()
    return csr_matrix((found.count.double().numpy(), cells), shape=(len(histories), items - RESERVED))


def projected(histories: Histories, idf: Tensor, table: Tensor) -> Tensor:
    """l2-normalised (1 + log tf) * idf of each user's items, mapped by `table` [F, V]: features [B, F]."""
    found = counts(histories, len(idf))
    user, item = found.user.to(idf.device), found.item.to(idf.device)
    value = (1 + found.count.to(idf).log()) * idf[item]  # [N]
    norm = idf.new_zeros(len(histories)).index_add(0, user, value.square()).sqrt()  # [B]
    added = value[:, None] * table.t()[item]  # [N, F]
    sums = table.new_zeros(len(histories), len(table)).index_add(0, user, added)
    return sums / norm.where(norm > 0, 1).unsqueeze(1)


def tfidf(histories: Histories, items: int) -> Any:
    """A transformer of counts to l2-normalised (1 + log tf) * idf; the idf is smooth and of these users."""
    from sklearn.feature_extraction.text import TfidfTransformer  # slow to import; answering needs none

    return TfidfTransformer(sublinear_tf=True).fit(matrix(histories, items))


def directions(histories: Histories, items: int, transformer: Any, most: int) -> Tensor:
    """The components of these users' TF-IDF: at most `most` rows [F, V - RESERVED]."""
    return components(transformer.transform(matrix(histories, items)), most)
