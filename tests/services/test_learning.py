"""Known answers: what can be learnt about Markov users is learnt, and what cannot be is not."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from small_workspace import add_task, url

from peter.config import BackboneConfig, PretrainConfig
from peter.data.splits import TEST, assign
from peter.data.synthetic import Population, World
from peter.progress import Silent
from peter.services.backbone.pretrain import pretrain
from peter.services.event_log.events import import_events
from peter.services.workspace import Workspace

ITEMS = 40
SHAPE = BackboneConfig(channels=16, blocks=2, max_length=20)
CONFIG = PretrainConfig(epochs=6, learning_rate=0.01, batch_size=64, threads=1)
CUTOFF = 5


@pytest.fixture
def learn(tmp_path: Path) -> Callable[[World], tuple[Workspace, dict[str, float]]]:
    """Import the events of a world's users and pre-train on them; the metrics of test users."""

    def learn(world: World) -> tuple[Workspace, dict[str, float]]:
        people = Population.draw(world, users=1500, length=(15, 20))
        people.write_events(tmp_path / "events.csv")
        people.write_labels(tmp_path / "kind.csv", "kind")
        workspace = Workspace.create(url(tmp_path))
        import_events(workspace, [tmp_path / "events.csv"], "clicks", None, None, None, 1, 1, Silent())
        made = pretrain(workspace, "clicks", "clicks", SHAPE, CONFIG, Silent())
        return workspace, made["metrics"]["test"]

    return learn


@pytest.mark.slow
def test_the_next_item_stays_at_chance_where_there_is_nothing_to_learn(learn) -> None:
    world = World(items=ITEMS, types=2, predictability=0, seed=1)
    workspace, metrics = learn(world)
    workspace.registry.dispose()
    assert metrics[f"hit@{CUTOFF}"] == pytest.approx(CUTOFF * world.next_item_chance, abs=0.08)


@pytest.mark.slow
def test_order_is_learnt_and_tells_types_apart_that_counting_cannot(learn, tmp_path: Path) -> None:
    world = World(items=ITEMS, types=2, predictability=0.9, seed=1)
    workspace, metrics = learn(world)
    assert 0.8 < metrics["mrr@5"] < world.next_item_best + 0.05
    settings = ["epochs=5", "learning_rate=0.003", "threads=1"]
    report: dict[str, Any] = add_task(workspace, "kind", tmp_path / "kind.csv", settings=settings)["report"]
    workspace.registry.dispose()
    contenders = {"peter": report["metrics"]["test"], **report["metrics"]["baselines"]}
    accuracy = {name: scores["accuracy"]["value"] for name, scores in contenders.items()}
    assert accuracy["peter"] > 0.9
    assert accuracy["probe"] > 0.8
    assert accuracy["bag"] == pytest.approx(world.type_chance, abs=0.12)
    assert accuracy["majority"] == pytest.approx(world.type_chance, abs=0.12)
    for baseline in ("bag", "wide", "majority"):  # order alone tells the types apart
        assert report["metrics"]["differences"][baseline]["log_loss"]["high"] < 0


@pytest.mark.slow
def test_pre_training_pays_where_labels_are_few_and_patches_reach_what_full_training_does(
    learn, tmp_path: Path
) -> None:
    """The order of PeterRec's tables: FineCLS and PeterZero below PeterRec, which is level with FineAll.

    Order alone tells the types apart, so the wide term is off.
    """
    workspace, _ = learn(World(items=ITEMS, types=2, predictability=0.9, seed=1))
    labels = pl.read_csv(tmp_path / "kind.csv", infer_schema=False)
    part = pl.Series(assign(labels["user_id"].to_list(), CONFIG.salt))

    def accuracy(method: str, users: int) -> float:
        """Of all test users, with so many training users and as many to validate on."""
        kept = [
            rows if at == TEST else rows.head(users)
            for at in range(3)
            for rows in [labels.filter(part == at)]
        ]
        pl.concat(kept).write_csv(tmp_path / "few.csv")
        rates = [] if method == "probe" else ["epochs=20", "learning_rate=0.003", "wide=off"]
        report = add_task(
            workspace, f"{method}{users}", tmp_path / "few.csv", method=method, settings=["threads=1", *rates]
        )["report"]
        reached: float = report["metrics"]["test"]["accuracy"]["value"]
        return reached

    few = {method: accuracy(method, 100) for method in ("peter", "full", "scratch")}
    more = {method: accuracy(method, 300) for method in ("peter", "full", "probe", "zero")}
    workspace.registry.dispose()
    assert min(few["peter"], few["full"]) > few["scratch"] + 0.1
    assert more["peter"] == pytest.approx(more["full"], abs=0.04)
    assert more["peter"] > more["probe"] + 0.05
    assert more["peter"] > more["zero"] + 0.1
