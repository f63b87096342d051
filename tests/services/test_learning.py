"""Known answers: what can be learnt about Markov users is learnt, and what cannot be is not."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from small_workspace import add_task, url

from peter.config import BackboneConfig, PretrainConfig
from peter.data.synthetic import Population, World
from peter.progress import Silent
from peter.services.events import import_events
from peter.services.pretrain import pretrain
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
    for baseline in (
        "bag",
        "wide",
        "majority",
    ):  # order alone tells the types apart: it is all the deep part's
        assert report["metrics"]["differences"][baseline]["log_loss"]["high"] < 0
