"""Synthetic users with known answers: Markov chains of hidden types, of known chance and best scores."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from peter.errors import InputError

Ints = npt.NDArray[np.integer[Any]]


@dataclass(frozen=True)
class World:
    """V items and hidden types of users; each type follows an item by another one of its own.

    After item v, a user of type t takes the item successors[t, v] with probability `predictability`, or else
    any item, all alike. Every type goes round all items in one circle, so that none keeps to a few of them:
    every item is equally frequent for every type, and only order tells types apart.
    """

    items: int = 100  # V
    types: int = 4
    predictability: float = 0.8  # 0: nothing can be learnt; 1: the next item is certain
    seed: int = 0

    def __post_init__(self) -> None:
        if self.items < 1 or self.types < 1 or not 0 <= self.predictability <= 1:
            raise InputError(f"{self} is no world; give items and types above 0, predictability from 0 to 1.")

    @cached_property
    def successors(self) -> npt.NDArray[np.int32]:
        """[types, V] permutations of the items, of one cycle each."""
        generator = np.random.default_rng(self.seed)
        followers = np.empty((self.types, self.items), np.int32)
        for follower in followers:
            circle = generator.permutation(self.items)
            follower[circle] = np.roll(circle, -1)
        return followers

    @property
    def next_item_chance(self) -> float:
        """Accuracy of guessing a user's next item."""
        return 1 / self.items

    @property
    def next_item_best(self) -> float:
        """Accuracy of whoever knows the successors and the user's type; long histories come close to it."""
        return self.predictability + (1 - self.predictability) / self.items

    @property
    def type_chance(self) -> float:
        """Accuracy of guessing a user's type: types are equally frequent."""
        return 1 / self.types

    def type_best(self, noise: float = 0.0) -> float:
        """Accuracy of whoever knows every type, on labels of which a part `noise` was drawn at random."""
        return 1 - noise + noise / self.types


@dataclass(frozen=True)
class Population:
    """Users of a world: user u has type types[u] and the events items[u], one a row of time."""

    world: World
    types: npt.NDArray[np.int64]  # [U]
    items: npt.NDArray[np.int32]  # [U, L]
    lengths: npt.NDArray[np.int64]  # [U] events a user has; the rest of its row is not used
    seed: int

    @classmethod
    def draw(cls, world: World, users: int, length: tuple[int, int], seed: int = 0) -> "Population":
        """Users with `length` (least, most) events each."""
        generator = np.random.default_rng([world.seed, seed])
        types = np.arange(users) % world.types
        items = np.empty((length[1], users), np.int32)
        items[0] = generator.integers(world.items, size=users)
        for step in range(1, length[1]):
            follows = generator.random(users) < world.predictability
            anything = generator.integers(world.items, size=users)
            items[step] = np.where(follows, world.successors[types, items[step - 1]], anything)
        lengths = generator.integers(length[0], length[1] + 1, size=users)
        return cls(world, types, items.T, lengths, seed)

    @property
    def user_ids(self) -> pl.Series:
        """[U] u0000001 and so on."""
        return _names("u", np.arange(len(self.types)))

    def events(self) -> pl.DataFrame:
        """user_id, item_id, timestamp (seconds): all users mixed, as in a log, no two of one user at once."""
        user, step = np.nonzero(np.arange(self.items.shape[1]) < self.lengths[:, None])
        generator = np.random.default_rng([self.world.seed, self.seed, 1])
        time = 1_600_000_000 + step * 3600 + generator.integers(3600, size=len(step))
        order = np.argsort(time)
        events = {"user_id": _names("u", user[order]), "item_id": _names("i", self.items[user, step][order])}
        return pl.DataFrame({**events, "timestamp": time[order]})

    def write_events(self, path: Path) -> None:
        """A .csv or .parquet file; millions of events take seconds."""
        events = self.events()
        if path.suffix == ".parquet":
            events.write_parquet(path)
        else:
            events.write_csv(path)

    def write_labels(self, path: Path, name: str, groups: int | None = None, noise: float = 0.0) -> None:
        """A CSV file of every user's type (modulo `groups`), of which a part `noise` is drawn at random."""
        generator = np.random.default_rng([self.world.seed, self.seed, 2])
        groups = groups or self.world.types
        anything = generator.integers(groups, size=len(self.types))
        labels = np.where(generator.random(len(self.types)) < noise, anything, self.types % groups)
        pl.DataFrame({"user_id": self.user_ids, name: _names(name, labels, 1)}).write_csv(path)


def _names(letter: str, numbers: Ints, digits: int = 7) -> pl.Series:
    text = pl.format(letter + "{}", pl.lit(pl.Series(numbers)).cast(pl.String).str.zfill(digits))
    return pl.select(text).to_series()
