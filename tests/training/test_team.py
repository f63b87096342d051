"""A team takes the steps that one process would take, up to the rounding of its sums."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from test_pretrain import FAST, comparable, fresh, ragged
from torch import distributed, multiprocessing

from peter.config import PretrainConfig
from peter.errors import PeterError
from peter.training.pretrain import pretrain
from peter.training.team import ALONE, Team

MEMBERS = 2
WINDOWS = len(ragged(61, 1).windows(10).items)
# at this size one member has no row of an epoch's last batch
ODD = next(size for size in range(20, 40) if WINDOWS % size == 1)
STEP = dataclasses.replace(FAST, epochs=1, batch_size=500)  # a single one
CASES = {
    "full softmax": STEP,
    "sampled softmax": dataclasses.replace(STEP, negatives=8),
    "dropout": dataclasses.replace(STEP, dropout=0.3),
    "gaps": dataclasses.replace(STEP, objective="gap-fill"),
    "epochs": dataclasses.replace(FAST, batch_size=ODD),
    "apart": STEP,  # each member with a checkpoint of its own
}


def learnt(config: PretrainConfig, team: Team, checkpoint: Path | None = None) -> dict[str, Any]:
    """Reports, weights, and the gradients of the last step."""
    model = fresh(config.objective == "next-item")
    made = list(pretrain(model, ragged(61, 1), ragged(30, 2), config, checkpoint, team=team))
    gradients = {name: parameter.grad for name, parameter in model.named_parameters()}
    return {"reports": comparable(made), "gradients": gradients, "weights": model.state_dict()}


def member(rank: int, folder: Path) -> None:
    """One process of the team; what it learnt, or what it was told, goes to a file."""
    store = distributed.FileStore(str(folder / "store"), MEMBERS)
    distributed.init_process_group("gloo", store=store, rank=rank, world_size=MEMBERS)
    for name, config in CASES.items():
        own = f" {rank}" if name == "apart" else ""
        try:
            found = learnt(config, Team(rank, MEMBERS), folder / f"{name}{own}")
        except PeterError as error:
            found = {"error": str(error)}
        torch.save(found, folder / f"{name} of {rank}")
    distributed.destroy_process_group()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a team left its checkpoints, and each member what it learnt."""
    folder = tmp_path_factory.mktemp("team")
    learnt(CASES["apart"], ALONE, folder / "apart 1")  # rank 1 is ahead
    multiprocessing.spawn(member, (folder,), nprocs=MEMBERS)
    return folder


def members(folder: Path, name: str) -> list[dict[str, Any]]:
    """What each member found in a case."""
    return [torch.load(folder / f"{name} of {rank}", weights_only=False) for rank in range(MEMBERS)]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["full softmax", "sampled softmax", "dropout", "gaps"])
def test_gradients_are_those_of_one_process(folder: Path, name: str) -> None:
    alone = learnt(CASES[name], ALONE)
    for found in members(folder, name):
        for each, gradient in alone["gradients"].items():
            torch.testing.assert_close(found["gradients"][each], gradient, rtol=1e-4, atol=1e-7)


@pytest.mark.slow
def test_members_agree_bit_for_bit_and_learn_as_much_as_one(folder: Path) -> None:
    alone, (first, second) = learnt(CASES["epochs"], ALONE), members(folder, "epochs")
    assert first["reports"] == second["reports"]
    assert all(torch.equal(value, second["weights"][each]) for each, value in first["weights"].items())
    for one, many in zip(alone["reports"], first["reports"], strict=True):
        assert many.train_loss == pytest.approx(one.train_loss, rel=1e-3)
        assert many.valid_loss == pytest.approx(one.valid_loss, rel=1e-3)
        assert many.metrics == pytest.approx(one.metrics, abs=0.05)


@pytest.mark.slow
def test_one_process_finds_nothing_left_to_train_where_a_team_was(folder: Path) -> None:
    again, (first, _) = learnt(CASES["epochs"], ALONE, folder / "epochs"), members(folder, "epochs")
    assert again["reports"] == first["reports"]
    assert all(torch.equal(value, again["weights"][each]) for each, value in first["weights"].items())


@pytest.mark.slow
def test_members_that_read_different_checkpoints_say_so(folder: Path) -> None:
    assert all("where all of them see it" in found["error"] for found in members(folder, "apart"))
