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

    def walk(self, types: Ints, steps: int, generator: np.random.Generator) -> npt.NDArray[np.int32]:
        """[steps, U] items of users of these types [U], oldest first."""
        items = np.empty((steps, len(types)), np.int32)
        items[0] = generator.integers(self.items, size=len(types))
        for step in range(1, steps):
            follows = generator.random(len(types)) < self.predictability
            anything = generator.integers(self.items, size=len(types))
            items[step] = np.where(follows, self.successors[types, items[step - 1]], anything)
        return items


@dataclass(frozen=True)
class Bazaar:
    """Many items in few genres: what few labelled users cannot tell, the log of all the others can.

    Item v has the genre v mod genres. After genre g a user of type t stays with probability `stay`, goes on
    to the genre successors[t, g] with probability `predictability`, or else to one by the type's own taste;
    the item is any of the genre.
    Both tastes and order tell types apart, but most items are never met among a few hundred labelled users:
    whoever does not know which items are alike counts in vain.
    """

    items: int = 50_000  # V
    genres: int = 250
    types: int = 4
    stay: float = 0.4
    predictability: float = 0.2
    taste: float = 0.4  # standard deviation of the logarithm of a type's fondness of a genre
    seed: int = 0

    def __post_init__(self) -> None:
        chances = min(self.stay, self.predictability) >= 0 and self.stay + self.predictability <= 1
        if not 1 <= self.genres <= self.items or self.types < 1 or not chances:
            raise InputError(f"{self} is no bazaar; give no more genres than items, and some types.")

    @cached_property
    def successors(self) -> npt.NDArray[np.int32]:
        """[types, genres] permutations of the genres, of one cycle each."""
        return World(self.genres, self.types, self.predictability, self.seed).successors

    @cached_property
    def tastes(self) -> npt.NDArray[np.float64]:
        """[types, genres] chances of a genre, when it is not the successor of the one before."""
        fondness = np.random.default_rng([self.seed, 1]).normal(size=(self.types, self.genres))
        weights: npt.NDArray[np.float64] = np.exp(self.taste * fondness)
        weights /= weights.sum(axis=1, keepdims=True)
        return weights

    def walk(self, types: Ints, steps: int, generator: np.random.Generator) -> npt.NDArray[np.int32]:
        """[steps, U] items of users of these types [U], oldest first."""
        chances = self.tastes.cumsum(axis=1)  # [types, genres]
        drawn = np.empty((steps, len(types)), np.int64)
        for kind in range(self.types):
            mine = types == kind
            point = generator.random((steps, int(mine.sum())))
            drawn[:, mine] = np.searchsorted(chances[kind], point).clip(max=self.genres - 1)
        chance = generator.random(drawn.shape)
        moves, follows = chance >= self.stay, chance < self.stay + self.predictability
        for step in range(1, steps):
            onward = np.where(follows[step], self.successors[types, drawn[step - 1]], drawn[step])
            drawn[step] = np.where(moves[step], onward, drawn[step - 1])
        each = (self.items - 1 - drawn) // self.genres + 1  # items of the genre
        return (drawn + self.genres * generator.integers(each)).astype(np.int32)

    def type_chances(self, items: Ints, lengths: Ints) -> npt.NDArray[np.float64]:
        """[U, types] the best there is: what whoever knows the bazaar says of users with items [U, L]."""
        genres = items % self.genres  # [U, L]
        real = np.arange(items.shape[1]) < lengths[:, None]
        told = np.empty((len(items), self.types))
        for kind in range(self.types):
            likely = (1 - self.stay - self.predictability) * self.tastes[kind][genres]
            likely[:, 1:] += self.stay * (genres[:, :-1] == genres[:, 1:])
            likely[:, 1:] += self.predictability * (self.successors[kind][genres[:, :-1]] == genres[:, 1:])
            likely[:, 0] = self.tastes[kind][genres[:, 0]]
            told[:, kind] = np.where(real, np.log(likely), 0).sum(axis=1)
        chances: npt.NDArray[np.float64] = np.exp(told - told.max(axis=1, keepdims=True))
        chances /= chances.sum(axis=1, keepdims=True)
        return chances


@dataclass(frozen=True)
class Population:
    """Users of a world: user u has type types[u] and the events items[u], one a row of time."""

    world: World | Bazaar
    types: npt.NDArray[np.int64]  # [U]
    items: npt.NDArray[np.int32]  # [U, L]
    lengths: npt.NDArray[np.int64]  # [U] events a user has; the rest of its row is not used
    seed: int

    @classmethod
    def draw(cls, world: World | Bazaar, users: int, length: tuple[int, int], seed: int = 0) -> "Population":
        """Users with `length` (least, most) events each."""
        generator = np.random.default_rng([world.seed, seed])
        types = np.arange(users) % world.types
        items = world.walk(types, length[1], generator)
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

    def write_labels(
        self,
        path: Path,
        name: str,
        groups: int | None = None,
        noise: float = 0.0,
        users: int | None = None,
    ) -> None:
        """A CSV file of the type (modulo `groups`) of every user, or of the first `users`.

        A part `noise` of them is drawn at random.
        """
        generator = np.random.default_rng([self.world.seed, self.seed, 2])
        groups = groups or self.world.types
        anything = generator.integers(groups, size=len(self.types))
        labels = np.where(generator.random(len(self.types)) < noise, anything, self.types % groups)
        table = pl.DataFrame({"user_id": self.user_ids, name: _names(name, labels, 1)})
        table.head(len(table) if users is None else users).write_csv(path)

    def write_choices(self, path: Path, items: int = 40, each: tuple[int, int] = (2, 5)) -> None:
        """A CSV file of user_id, item_id, timestamp: what users choose in another domain, after all events.

        Item v is of type v mod types. A user chooses (least, most) distinct items, those of its own type ten
        times as likely as others, and the n-th of a type 1/n times as likely as the first.
        """
        generator = np.random.default_rng([self.world.seed, self.seed, 3])
        types = self.world.types
        place = np.arange(items)
        fondness = np.where(place % types == self.types[:, None] % types, 10.0, 1.0) / (1 + place // types)
        keys = np.log(fondness) + generator.gumbel(size=fondness.shape)  # the largest: drawn without return
        count = generator.integers(each[0], each[1] + 1, size=len(self.types))
        user, rank = np.nonzero(np.arange(items) < count[:, None])
        chosen = np.argsort(-keys, axis=1)[user, rank]
        time = 1_600_000_000 + 3600 * (self.items.shape[1] + 1 + rank)
        columns = {"user_id": self.user_ids.gather(user), "item_id": _names("c", chosen), "timestamp": time}
        pl.DataFrame(columns).write_csv(path)


def _names(letter: str, numbers: Ints, digits: int = 7) -> pl.Series:
    text = pl.format(letter + "{}", pl.lit(pl.Series(numbers)).cast(pl.String).str.zfill(digits))
    return pl.select(text).to_series()
