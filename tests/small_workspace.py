"""A small workspace that has gone the whole way, and everything that its registry and its store hold."""

import getpass
import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
from sqlalchemy import MetaData, Table, select, text
from sqlalchemy.orm import Session

from peter.config import BackboneConfig, PretrainConfig
from peter.data.synthetic import Population, World
from peter.progress import Silent
from peter.registry import patches, schema
from peter.registry.database import Registry
from peter.registry.models import Base, Patch
from peter.services.backbone.pretrain import pretrain
from peter.services.event_log.events import import_events
from peter.services.version import train
from peter.services.workspace import Workspace

TASKS = {"gender": 2, "tier": 4}  # classes: the users' hidden types, modulo so many
ODD = {"u0000001": "007", "u0000002": "7", "u0000003": "NA"}  # ids that a careless reader would change
LATER = {  # user -> item, time of what happens after the import: of old users and of a new one
    "007": [("i0000001", 1_900_000_000), ("novel", 1_900_000_001)],
    "7": [("i0000002", 5)],  # before everything else
    "zoe": [("i0000003", 1_900_000_000), ("novel", 1_900_000_002), ("i0000001", 1_900_000_003)],
}
SHAPE = BackboneConfig(channels=8, blocks=2, max_length=20)
PRETRAIN = PretrainConfig(epochs=2, threads=1)
QUICK = ["epochs=1", "threads=1"]


def write_files(directory: Path) -> None:
    """events.csv, later.csv to append to it, and a label file for each of TASKS."""
    people = Population.draw(World(items=40, types=4, seed=1), users=300, length=(8, 30))
    people.write_events(directory / "events.csv")
    for task, classes in TASKS.items():
        people.write_labels(directory / f"{task}.csv", task, classes)
    for path in directory.glob("*.csv"):
        table = pl.read_csv(path)
        table.with_columns(pl.col("user_id").replace(ODD)).write_csv(path)
    later = [f"{user},{item},{time}" for user, events in LATER.items() for item, time in events]
    (directory / "later.csv").write_text("\n".join(["user_id,item_id,timestamp", *later]) + "\n")


def write_items(path: Path) -> Path:
    """What is known of all items but the last two: a text, an image, and of most a price."""
    rows = [
        f"i{at:07},taste{at % 4} thing{at % 5},{at / 4 if at % 3 else ''},{at % 4} {at % 5}.5 1"
        for at in range(38)
    ]
    path.write_text("\n".join(["item_id,title:text,price:number,image:vector", *rows]) + "\n")
    return path


def pretrained(directory: Path) -> Workspace:
    """A workspace with the event log clicks@1 and the backbone clicks@1, where there is none."""
    write_files(directory)
    workspace = Workspace.create(url(directory))
    import_events(workspace, [directory / "events.csv"], "clicks", None, None, None, 1, 1, Silent())
    pretrain(workspace, "clicks", "clicks", SHAPE, PRETRAIN, Silent())
    return workspace


def add_task(workspace: Workspace, name: str, labels: Path, **changes: Any) -> dict[str, Any]:
    """`peter task add`, as quick as can be unless `changes` say otherwise."""
    told, change, rest = _sorted({"method": "peter", "settings": QUICK, "seed": 0, "seeds": 1, **changes})
    usual = {"column": None, "kind_name": None, "backbone": None, "force": False, "address": None, **rest}
    found = train.add_tasks(workspace, {name: labels}, **usual, told=told, change=change, progress=Silent())
    return dict(found["tasks"][0])


def train_task(workspace: Workspace, name: str, **changes: Any) -> dict[str, Any]:
    """`peter task train`, with the champion's labels, backbone and settings where `changes` say nothing."""
    _, change, rest = _sorted(changes)
    usual = {
        "labels": None, "column": None, "backbone": None, "force": False, "promote": True, "address": None,
        **rest,
    }  # fmt: skip
    found = train.train_tasks(workspace, [name], change=change, progress=Silent(), **usual)
    return dict(found["tasks"][0])


def another_version(workspace: Workspace, task: str, weights: bytes = b"other weights") -> Patch:
    """Register a version of a task as training does, objects first, and promote nothing; nobody trains it."""
    with workspace.objects.holding():
        sha256 = workspace.objects.put_bytes(weights)

        def register(session: Session) -> Patch:
            like = patches.get(session, task)
            same = (
                "task",
                "backbone",
                "label_set",
                "method",
                "config",
                "fit",
                "params",
                "metrics",
                "certificate",
            )
            made = Patch(
                **{key: getattr(like, key) for key in same}, request_sha256=sha256, weights_sha256=sha256
            )
            return patches.add(session, made, workspace.actor)

        return workspace.registry.write(register)


def _sorted(changes: dict[str, Any]) -> tuple[train.Told, train.Change, dict[str, Any]]:
    """What people are told, what the version is to be, and the rest."""
    told = {key: changes.pop(key) for key in ("owner", "description", "sensitive") if key in changes}
    fields = ("method", "settings", "seed", "seeds", "twin", "warm")
    change = {"twin": False, **{key: changes.pop(key) for key in fields if key in changes}}
    return train.Told(**{"owner": getpass.getuser(), **told}), train.Change(**change), changes


def url(directory: Path) -> str:
    """Where the registry of a workspace in this directory is."""
    return f"sqlite:///{directory}/.peter/registry.db"


def everything(directory: Path) -> dict[str, Any]:
    """Every row of the registry and the hash of every file of the store."""
    registry = Registry(url(directory))
    rows = table_rows(registry)
    registry.dispose()
    store = directory / ".peter" / "store"
    files = {path for path in store.rglob("*") if path.is_file() and path.suffix != ".lock"}
    return {**rows, "files": {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}}


def table_rows(registry: Registry) -> dict[str, list[dict[str, Any]]]:
    """Every row by its table, in order of id."""
    with registry.read() as session:
        return {
            table.name: [dict(row._mapping) for row in session.execute(select(table).order_by(table.c.id))]
            for table in Base.metadata.sorted_tables
        }


def copy_registry(source: str, target: str, revision: str = "head") -> None:
    """Give an empty database every row of another one that is at `revision`, whatever today's models are."""
    old, new = Registry(source), Registry(target)
    schema.upgrade(new, revision)
    tables = MetaData()
    tables.reflect(old.engine)
    named = [table for table in tables.sorted_tables if table.name != "alembic_version"]
    with old.read() as session:
        rows = {table.name: session.execute(select(table)).mappings().all() for table in named}
    new.write(lambda session: [_fill(session, name, rows[name]) for name in rows])
    for registry in (old, new):
        registry.dispose()


def _aware(value: Any) -> Any:
    """SQLite gives times without their zone."""
    return value.replace(tzinfo=UTC) if isinstance(value, datetime) else value


def _fill(session: Session, name: str, rows: Sequence[Any]) -> None:
    """Add rows as they are, and number those to come after them."""
    table = Table(name, MetaData(), autoload_with=session.connection())
    for row in rows:
        session.execute(table.insert().values({key: _aware(value) for key, value in row.items()}))
    session.execute(text(f"SELECT setval(pg_get_serial_sequence('{name}', 'id'), max(id)) FROM \"{name}\""))


def write_easy_labels(directory: Path, name: str, first: int, last: int) -> Path:
    """A label file that even a small patch learns: whether a user had more of some items than most users."""
    events = pl.read_csv(directory / "events.csv", infer_schema=False)
    among = pl.col("item_id").is_between(pl.lit(f"i{first:07}"), pl.lit(f"i{last:07}"))
    shares = events.group_by("user_id", maintain_order=True).agg(among.mean().alias("share"))
    often = pl.when(pl.col("share") > pl.col("share").median()).then(pl.lit("often")).otherwise(pl.lit("not"))
    path = directory / f"{name}.csv"
    shares.select("user_id", often.alias(name)).write_csv(path)
    return path
