"""What is known of items as numbers: known answers, fitted once, and the same for items that come later."""

import math
import re
import sys
from collections import Counter
from collections.abc import Sequence
from typing import Any

import polars as pl
import pytest
import torch
from safetensors.torch import load, save
from torch import Tensor

from peter.data import encodings
from peter.data.encodings import BUMPS, PLACES, TEXTS, Hashed, words
from peter.data.features import FeatureSpace
from peter.data.items import ItemTable
from peter.errors import InputError

TYPES = {"text": pl.String, "category": pl.List(pl.String), "number": pl.Float64}
TEXT = ["Red red wine", "white wine", None, "dry red bread"]
GENRES = [["drama"], ["drama", "war"], None, ["war"]]
EVERYTHING: dict[str, tuple[str, Sequence[Any]]] = {
    "title": ("text", TEXT),
    "genres": ("category", GENRES),
    "price": ("number", [1.0, 2.0, None, 5.0]),
    "image": ("vector", [[1.0, 2.0], [3.0, 4.0], None, [5.0, 9.0]]),
    "sound": ("vector", [None, [1.0, 0.0, 0.0], None, [0.0, 1.0, 1.0]]),
}


def table(first: int = 0, /, **columns: tuple[str, Sequence[Any]]) -> ItemTable:
    """Items i0, i1 .. with columns (kind, values)."""
    series = [_series(name, kind, values) for name, (kind, values) in columns.items()]
    ids = [f"i{first + at}" for at in range(len(series[0]))]
    return ItemTable(pl.DataFrame([pl.Series("item_id", ids), *series]))


def _series(name: str, kind: str, values: Sequence[Any]) -> pl.Series:
    if kind == "vector":
        size = next(len(value) for value in values if value is not None)
        return pl.Series(name, values, dtype=pl.Array(pl.Float32, size))
    return pl.Series(name, values, dtype=TYPES[kind])


def ids(items: ItemTable) -> list[str]:
    return items.frame["item_id"].to_list()


def features(items: ItemTable, text: str = "hashed") -> dict[str, Tensor]:
    return FeatureSpace.fit(items, ids(items), text).of(items, ids(items))


def tfidf(documents: Sequence[Sequence[str]]) -> Tensor:
    """Cosines [N, N] of l2-normalised (1 + log tf) * idf, word by word."""
    counts = [Counter(document) for document in documents]
    shares = Counter(word for count in counts for word in count)
    idf = {word: math.log((1 + len(counts)) / (1 + share)) + 1 for word, share in shares.items()}
    rows = [
        [(1 + math.log(count[word])) * idf[word] if word in count else 0.0 for word in idf]
        for count in counts
    ]
    weights = torch.nn.functional.normalize(torch.tensor(rows), eps=1e-9)
    return weights @ weights.T


def test_texts_are_as_far_apart_as_the_tf_idf_of_their_words() -> None:
    found = features(table(title=("text", TEXT), more=("text", [None, "Wine!", None, None])))["text"]
    documents = [["red", "red", "wine"], ["white", "wine", "wine"], [], ["dry", "red", "bread"]]
    torch.testing.assert_close(found @ found.T, tfidf(documents))
    assert torch.equal(found[2], torch.zeros(len(found.T)))


def test_a_category_is_another_one_in_another_column() -> None:
    found = features(table(genres=("category", GENRES), mood=("category", [["war"], None, None, None])))
    documents = [["genres=drama", "mood=war"], ["genres=drama", "genres=war"], [], ["genres=war"]]
    vectors = found["category"]
    torch.testing.assert_close(vectors @ vectors.T, tfidf(documents))


def test_words_that_no_item_had_say_nothing() -> None:
    """Where there are more directions than words some are arbitrary, and would tell of any word."""
    items = table(genres=("category", [["a"] if at % 3 else ["b", "c"] for at in range(50)]))
    fitted = Hashed(encodings.categories).fit(items.frame.drop("item_id"))
    unseen = fitted["idf"] == fitted["idf"].max()
    assert int(unseen.sum()) == PLACES - 3
    assert not fitted["axes"][:, unseen].any()
    assert len(fitted["axes"]) == 2  # and those are left out: items have one of two sets of words


def test_a_number_is_bumps_at_its_rank() -> None:
    items = table(price=("number", [float(value) for value in range(65)]))
    space = FeatureSpace.fit(items, ids(items), "hashed")
    centres = (torch.arange(BUMPS) + 0.5) / BUMPS
    asked = table(100, price=("number", [2.0, 30.5, -7.0, 0.0, 1e9, 64.0, None]))
    found = space.of(asked, ids(asked))["number"]
    ranks = torch.tensor([2 / 64, 30.5 / 64, 0, 0, 1, 1])
    torch.testing.assert_close(found[:6], torch.exp(-((ranks[:, None] - centres) * BUMPS).square() / 2))
    assert found[0].argmax() == 0
    assert found[0, 0] == 1
    assert torch.equal(found[6], torch.zeros(BUMPS))


def test_numbers_are_the_same_in_any_unit_and_each_column_has_its_own() -> None:
    values = [3.0, 1.0, None, 20.0, 4.0]
    cents = [value and 100 * value for value in values]
    one = features(table(price=("number", values)))["number"]
    both = features(table(cents=("number", cents), price=("number", values)))["number"]
    torch.testing.assert_close(both, torch.cat([one, one], dim=1))


def test_a_column_that_is_empty_where_it_is_fitted_is_kept_beside_others() -> None:
    items = table(price=("number", [1.0, 2.0]), weight=("number", [None, None]))
    space = FeatureSpace.fit(items, ids(items), "hashed")
    later = table(2, price=("number", [None]), weight=("number", [0.5]))
    found = space.of(later, ids(later))["number"]
    assert found.shape == (1, 2 * BUMPS)
    assert not found[0, :BUMPS].any()
    assert found[0, BUMPS:].max() > 0.8


def test_vectors_have_mean_0_and_variance_1_on_average() -> None:
    generator = torch.Generator().manual_seed(0)
    drawn = (5 + torch.randn(200, 3, generator=generator) * torch.tensor([1.0, 2.0, 3.0])).tolist()
    found = features(table(image=("vector", [None, *drawn])))["vector0"]
    assert torch.equal(found[0], torch.zeros(3))
    torch.testing.assert_close(found[1:].mean(0), torch.zeros(3), atol=1e-5, rtol=0)
    variances = found[1:].var(0, correction=0)
    assert variances.mean().item() == pytest.approx(1)
    torch.testing.assert_close(
        variances / variances[0], torch.tensor(drawn).var(0) / torch.tensor(drawn)[:, 0].var()
    )


def test_sentences_of_one_meaning_are_near() -> None:
    texts = ["a bottle of red wine", "dark beer in cans", "vin rouge, wine", "printer paper", " ", None]
    found = features(table(title=("text", texts)), "wordllama")["text"]
    assert found.shape == (6, encodings.SENTENCE)
    assert torch.equal(found[4:] != 0, torch.zeros(2, encodings.SENTENCE, dtype=torch.bool))
    near = torch.nn.functional.normalize(found[:4])
    assert (near @ near.T)[0].argsort(descending=True).tolist()[1] == 2
    torch.testing.assert_close(found[:4].mean(0), torch.zeros(encodings.SENTENCE), atol=1e-5, rtol=0)


def test_without_its_package_the_sentence_model_says_what_to_type(monkeypatch: pytest.MonkeyPatch) -> None:
    encodings._model.cache_clear()
    monkeypatch.setitem(sys.modules, "wordllama", None)
    with pytest.raises(InputError, match=re.escape("pip install peter-rec[sentences]")):
        features(table(title=("text", TEXT)), "wordllama")


@pytest.mark.parametrize("text", TEXTS)
def test_later_items_are_read_by_what_was_fitted_before(text: str) -> None:
    """Beside any others, in any order, and from a stored file: the bits are those of the first time."""
    items = table(**EVERYTHING)
    space = FeatureSpace.fit(items, ids(items), text)
    first = space.of(items, ids(items))
    later = table(4, **{name: (kind, values[::-1]) for name, (kind, values) in EVERYTHING.items()})
    both = ItemTable(pl.concat([items.frame, later.frame]))
    again = FeatureSpace(load(save(space.tensors)), text)
    found = again.of(both, ["i7", "nobody", "i0", "i6"])
    assert list(found) == list(first) == ["category", "vector0", "number", "vector1", "text"]
    for name, values in first.items():
        assert values.dtype == torch.float32
        torch.testing.assert_close(found[name][[0, 2, 3]], values[[0, 0, 1]], rtol=0, atol=1e-6)
        assert not found[name][1].any()
        assert not values[2].any()
        assert torch.equal(again.of(items, ids(items))[name], values)


def test_the_same_items_give_the_same_bits() -> None:
    items = table(**EVERYTHING)
    first, second = (FeatureSpace.fit(items, ids(items), "hashed").tensors for _ in range(2))
    assert save(first) == save(second)


def test_what_says_nothing_of_any_item_is_left_out() -> None:
    empty = table(title=("text", TEXT), genres=("category", [None] * 4), price=("number", [None] * 4))
    assert set(features(empty)) == {"text"}
    told = FeatureSpace.fit(table(**EVERYTHING), ["i2", "nobody"], "hashed")
    assert told.of(table(**EVERYTHING), ["i0"]) == {}


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("text", ["★★", "!!!", None]),
        ("vector", [[0.1]] * 1000),
        ("vector", [[1.0, 2.0], None, None]),
    ],
)
def test_what_is_nothing_to_tell_by_is_left_out(kind: str, values: Sequence[Any]) -> None:
    assert features(table(one=(kind, values))) == {}
    assert set(features(table(one=(kind, values), price=("number", [2.0] * len(values))))) == {"number"}


def test_the_same_words_of_all_items_are_one_direction() -> None:
    found = features(table(title=("text", ["Red wine", "red wine", "wine, red"])))["text"]
    torch.testing.assert_close(found.abs(), torch.ones(3, 1))


def test_items_that_are_not_of_the_log_change_nothing() -> None:
    items = table(**EVERYTHING)
    one, other = (
        FeatureSpace.fit(ItemTable(frame), ["i0", "i1", "i2"], "hashed").tensors
        for frame in (items.frame, items.frame.head(3))
    )
    assert save(one) == save(other)


def test_words_are_read_in_small_letters() -> None:
    assert words(pl.DataFrame({"a": ["Ünder-Water, 2nd", None], "b": ["Z", ""]})) == [
        ["ünder", "water", "2nd", "z"],
        [],
    ]
