"""Synthetic worlds: the scores they claim are the ones that can be measured."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from peter.data.synthetic import Bazaar, Population, World
from peter.errors import InputError


@pytest.mark.parametrize("predictability", [0.0, 0.5, 1.0])
def test_the_best_next_item_score_is_reached_by_knowing_the_world(predictability: float) -> None:
    world = World(items=20, types=3, predictability=predictability)
    people = Population.draw(world, users=3000, length=(30, 30))
    guess = world.successors[people.types[:, None], people.items[:, :-1]]
    hits = float(np.mean(guess == people.items[:, 1:]))
    assert hits == pytest.approx(world.next_item_best, abs=0.01)
    popular = np.bincount(people.items.ravel()).argmax()
    assert np.mean(people.items[:, 1:] == popular) == pytest.approx(world.next_item_chance, abs=0.01)


def test_types_show_in_the_order_of_items_and_not_in_their_frequency() -> None:
    world = World(items=20, types=2, predictability=0.9)
    people = Population.draw(world, users=2000, length=(50, 50))
    fits = [
        np.mean(world.successors[kind][people.items[:, :-1]] == people.items[:, 1:], axis=1)
        for kind in (0, 1)
    ]
    assert np.mean(np.argmax(fits, axis=0) == people.types) > 0.999
    shares = [np.bincount(people.items[people.types == kind].ravel(), minlength=20) for kind in (0, 1)]
    assert np.abs(shares[0] / shares[0].sum() - shares[1] / shares[1].sum()).max() < 0.01


def test_noisy_labels_have_the_claimed_best_score(tmp_path: Path) -> None:
    world = World(types=4)
    people = Population.draw(world, users=20_000, length=(1, 1))
    people.write_labels(tmp_path / "labels.csv", "taste", noise=0.2)
    labels = pl.read_csv(tmp_path / "labels.csv")
    assert labels.columns == ["user_id", "taste"]
    right = np.mean(labels["taste"].to_numpy() == np.char.add("taste", people.types.astype(str)))
    assert right == pytest.approx(world.type_best(0.2), abs=0.01)
    assert world.type_best() == 1
    assert labels["taste"].value_counts()["count"].to_numpy() / 20_000 == pytest.approx(
        world.type_chance, abs=0.02
    )


def test_events_are_those_of_the_chains(tmp_path: Path) -> None:
    people = Population.draw(World(items=9), users=50, length=(2, 8), seed=3)
    people.write_events(tmp_path / "events.parquet")
    people.write_events(tmp_path / "events.csv")
    events = pl.read_parquet(tmp_path / "events.parquet")
    assert pl.read_csv(tmp_path / "events.csv").equals(events)
    assert events["timestamp"].is_sorted()
    by_user = (
        events.sort("user_id", "timestamp")
        .group_by("user_id", maintain_order=True)
        .agg("item_id", "timestamp")
    )
    assert by_user["user_id"].equals(people.user_ids.alias("user_id"))
    for user, items in enumerate(by_user["item_id"]):
        expected = people.items[user, : people.lengths[user]]
        assert [int(name[1:]) for name in items] == expected.tolist()
    assert all(times.n_unique() == len(times) for times in by_user["timestamp"])
    assert set(people.lengths) <= set(range(2, 9))


def test_everything_follows_from_the_seeds(tmp_path: Path) -> None:
    def content(world_seed: int, seed: int) -> bytes:
        people = Population.draw(World(seed=world_seed), users=20, length=(5, 9), seed=seed)
        people.write_events(tmp_path / "events.csv")
        people.write_labels(tmp_path / "labels.csv", "taste", noise=0.5)
        return (tmp_path / "events.csv").read_bytes() + (tmp_path / "labels.csv").read_bytes()

    assert content(0, 0) == content(0, 0)
    assert len({content(0, 0), content(1, 0), content(0, 1)}) == 3


def test_an_impossible_world_is_refused() -> None:
    with pytest.raises(InputError, match="predictability from 0 to 1"):
        World(predictability=1.5)


def test_the_best_score_of_a_bazaar_is_honest_and_above_what_counts_can_tell() -> None:
    bazaar = Bazaar(items=3000, genres=50)
    people = Population.draw(bazaar, users=4000, length=(10, 30))
    chances = bazaar.type_chances(people.items, people.lengths)
    right = chances.argmax(axis=1) == people.types
    assert np.mean(chances.max(axis=1)) == pytest.approx(np.mean(right), abs=0.02)  # calibrated, as Bayes is
    counts = np.zeros((4000, 50))
    real = np.arange(30) < people.lengths[:, None]
    np.add.at(counts, (np.nonzero(real)[0], people.items[real] % 50), 1)
    by_counts = (counts @ np.log(bazaar.tastes).T).argmax(axis=1) == people.types
    assert 0.3 < np.mean(by_counts) < np.mean(right) - 0.1


def test_a_bazaar_has_every_item_in_one_genre_and_labels_for_a_few(tmp_path: Path) -> None:
    bazaar = Bazaar(items=103, genres=10, stay=0.0, predictability=1.0)
    people = Population.draw(bazaar, users=2000, length=(20, 20))
    assert set(np.unique(people.items)) == set(range(103))
    follows = bazaar.successors[people.types[:, None], people.items[:, :-1] % 10]
    assert np.array_equal(follows, people.items[:, 1:] % 10)
    people.write_labels(tmp_path / "labels.csv", "taste", users=25)
    assert len(pl.read_csv(tmp_path / "labels.csv")) == 25
    with pytest.raises(InputError, match="no more genres than items"):
        Bazaar(items=3, genres=4)
