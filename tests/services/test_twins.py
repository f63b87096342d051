"""From-scratch twins: fitted once for the same labels, budget, seed and architecture, whoever asks again."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from small_workspace import PRETRAIN, QUICK, SHAPE, train_task

from peter.data.splits import TEST, assign
from peter.progress import Silent
from peter.registry import patches, twins
from peter.services.backbone.pretrain import pretrain
from peter.services.integrity.upkeep import collect
from peter.services.lifecycle.forget import forget
from peter.services.patch.fitting import fitted
from peter.services.promotion import contest
from peter.services.workspace import Workspace

Trained = Callable[..., tuple[dict[str, Any], int]]
BARE = [*QUICK, "wide=off", "summary=off"]  # the quickest


@pytest.fixture
def trained(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> Trained:
    """`peter task train gender` with a twin: the report's metrics, and how many twins were fitted for it."""
    methods: list[str] = []

    def noted(recipe: Any, *rest: Any) -> Any:
        methods.append(recipe.method)
        return fitted(recipe, *rest)

    monkeypatch.setattr(contest, "fitted", noted)

    def train(*settings: str, **changes: Any) -> tuple[dict[str, Any], int]:
        methods.clear()
        usual = {"settings": [*BARE, *settings], "seed": 1, "twin": True, "promote": False}
        report = train_task(workspace, "gender", **{**usual, **changes})["report"]
        return report["metrics"], methods.count("scratch")

    return train


def kept(workspace: Workspace) -> set[str]:
    """The twins' objects that the store must keep."""
    with workspace.registry.read() as session:
        return set(twins.named(patches.every(session)).values())


def test_who_asks_for_the_same_twin_gets_the_same_answers_without_a_fit(
    workspace: Workspace, trained: Trained
) -> None:
    first, fits = trained()
    assert fits == 1
    for words, changes in ((("reduction=4",), {}), ((), {"method": "lora"})):
        again, fits = trained(*words, **changes)
        assert fits == 0
        assert again["baselines"]["scratch"] == first["baselines"]["scratch"]
        assert again["gate"]["gains"].keys() == first["gate"]["gains"].keys()
        assert again["twins"] == first["twins"]
    assert kept(workspace) == set(first["twins"]["objects"].values())


def test_another_seed_or_budget_or_other_labels_make_another_twin(place: Path, trained: Trained) -> None:
    trained()
    few = place / "few.csv"
    pl.read_csv(place / "gender.csv", infer_schema=False).head(250).write_csv(few)
    assert trained("epochs=2")[1] == 1
    assert trained(labels=few)[1] == 1
    assert trained("reduction=4", seeds=2)[1] == 1  # of the first seed's it is known


def test_a_backbone_of_the_same_shape_has_the_same_twins(workspace: Workspace, trained: Trained) -> None:
    first, _ = trained()
    pretrain(workspace, "clicks", "other", SHAPE, replace(PRETRAIN, epochs=1), Silent())
    again, fits = trained(backbone="other")
    assert (fits, again["baselines"]["scratch"]) == (0, first["baselines"]["scratch"])


def test_a_collection_spares_a_twin_and_one_that_is_lost_is_fitted_again(
    workspace: Workspace, trained: Trained
) -> None:
    trained()
    (twin,) = kept(workspace)
    assert collect(workspace)["removed"] == 0
    workspace.objects.path(twin).unlink()
    assert trained("reduction=4")[1] == 1
    assert kept(workspace) == {twin}
    assert workspace.objects.path(twin).is_file()


def test_nobody_who_is_forgotten_stays_in_a_twin(workspace: Workspace, place: Path, trained: Trained) -> None:
    """Nor a test user, from whom no version learnt."""
    users = pl.read_csv(place / "gender.csv", infer_schema=False)["user_id"]
    tested = next(user for user, part in zip(users, assign(users, "peter"), strict=True) if part == TEST)
    trained()
    (twin,) = kept(workspace)
    forget(workspace, tested, False, False, None, Silent())
    assert kept(workspace) == set()
    assert twin not in workspace.objects.sizes()
    assert trained("reduction=4")[1] == 1
