"""Who stands beside a patch in its report."""

from typing import Any

import pytest
from small_workspace import QUICK, train_task

from peter.services.patch.fitting import Fitted, fitted
from peter.services.promotion import contest
from peter.services.workspace import Workspace


def test_random_gates_are_as_often_open_as_those_of_the_same_seed(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: dict[int, float] = {}
    learnt: dict[int, Fitted] = {}
    histories: list[Any] = []

    def noted(recipe: Any, setting: Any, users: Any, progress: Any) -> Fitted:
        made = fitted(recipe, setting, users, progress)
        if getattr(recipe.options, "policy", None) == "random":
            drawn[setting.seed] = recipe.options.share
        elif recipe.gated:
            learnt[setting.seed] = made
            histories.append(users.train.histories)
        return made

    monkeypatch.setattr(contest, "fitted", noted)
    settings = [*QUICK, "wide=off", "learning_rate=0.02", "caution=0"]
    train_task(workspace, "gender", method="adaptive", settings=settings, seeds=2, promote=False)
    for seed, made in learnt.items():
        gates = made.gates(histories[0])
        assert gates is not None
        assert drawn[seed] == gates.mean().item()
    assert len(set(drawn.values())) == 2
