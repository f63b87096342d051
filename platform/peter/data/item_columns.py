"""Columns of what is known of items: which kind each is of, and its values as that kind."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import polars as pl

Kind = Literal["text", "category", "number", "vector"]

_WHOLE, _BARS, _BLANKS = r"(?s).+", r"[^|;]+", r"\S+"  # what the parts of a value look like
_TYPES: Mapping[str, tuple[Kind | None, str]] = {  # what stands behind a name -> kind, if told, and parts
    "": (None, _BARS),
    "text": ("text", _BARS),
    "category": ("category", _BARS),
    "number": ("number", _BARS),
    "vector": ("vector", _BARS),
    "token": ("category", _WHOLE),  # these four are RecBole's
    "token_seq": (None, _BLANKS),
    "float": ("number", _BLANKS),
    "float_seq": ("vector", _BLANKS),
}
TYPES = tuple(filter(None, _TYPES))
NOUNS = {"number": "a finite number", "vector": "finite numbers with blanks between, as many as above"}

_MAX_CATEGORIES = 256
_MIN_REPEATS = 4  # items a category has on average, or words are no categories


@dataclass(frozen=True)
class Column:
    """One column as a file has it."""

    name: str
    type: str  # one of TYPES, or "": the file does not say what the column holds
    raw: pl.Series  # String, "" where nothing is known; lists of text or of Float32

    @property
    def told(self) -> Kind | None:
        """What the file says that the column holds."""
        return _TYPES[self.type][0]

    def guess(self) -> Kind:
        """What the values look like."""
        if isinstance(self.raw.dtype, pl.List):
            return "category" if self.raw.dtype.inner == pl.String else "vector"
        given = self.raw.filter(self.raw != "")
        if not self.type and len(given) and not given.cast(pl.Float64, strict=False).null_count():
            return "number"
        if not self.type and _are_vectors(given):
            return "vector"
        categories = self._parts(given).explode().n_unique()
        limit = min(_MAX_CATEGORIES, len(given) // _MIN_REPEATS)
        return "category" if 0 < categories <= limit else "text"

    def values(self, kind: Kind) -> tuple[pl.Series, pl.Series]:
        """The values as `kind`, null where nothing is known, and a mask of those that cannot be that."""
        if kind == "number":
            numbers = self.raw.cast(pl.Float64, strict=False)
            return numbers, (self.raw != "") & ~numbers.is_finite().fill_null(False)
        if kind == "vector":
            return _vectors(self.raw if isinstance(self.raw.dtype, pl.List) else _floats(self.raw))
        nothing = pl.repeat(False, len(self.raw), eager=True)
        if kind == "category":
            return _filled(self._parts(self.raw)), nothing
        return self.raw.replace("", None), nothing

    def _parts(self, texts: pl.Series) -> pl.Series:
        """Each value's distinct parts, in their order."""
        lists = texts if isinstance(texts.dtype, pl.List) else texts.str.extract_all(_TYPES[self.type][1])
        words = pl.element().str.strip_chars()
        return lists.list.eval(words.filter(words != "").unique(maintain_order=True))


def _are_vectors(given: pl.Series) -> bool:
    """Whether all are the same two or more numbers long; long texts are seen by the first."""
    if not len(given) or _floats(given[:1]).explode().null_count():
        return False
    lists = _floats(given)
    lengths = lists.list.len()
    return lengths[0] >= 2 and lengths.n_unique() == 1 and not lists.explode().null_count()


def _floats(texts: pl.Series) -> pl.Series:
    return texts.str.extract_all(_BLANKS).cast(pl.List(pl.Float32), strict=False)


def _vectors(lists: pl.Series) -> tuple[pl.Series, pl.Series]:
    """Lists as long as the first one that is not empty."""
    lists = _filled(lists)
    lengths = lists.list.len()
    size = next(iter(lengths.drop_nulls()), 1)
    finite = lists.list.eval(pl.element().is_finite().fill_null(False)).list.all()
    bad = (~finite | (lengths != size)).fill_null(False)
    return lists.set(bad, None).cast(pl.Array(pl.Float32, size)), bad


def _filled(lists: pl.Series) -> pl.Series:
    """Null in the place of empty lists."""
    return lists.to_frame("").select(pl.when(pl.col("").list.len() > 0).then(pl.col("")))[""]
