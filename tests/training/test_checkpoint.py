"""Checkpoints are whole or absent, and the same content is the same bytes."""

from pathlib import Path

import pytest
import torch

from peter.errors import CorruptObject
from peter.training.checkpoint import Checkpoint, load_optimizer, optimizer_tensors

STATE = {"step": 3, "loss": 0.1 + 0.2, "reports": [{"epoch": 1}], "none": None}


def tensors() -> dict[str, torch.Tensor]:
    return {"b": torch.arange(6.0).view(2, 3).T, "a": torch.tensor(2.5), "c": torch.zeros(0)}


def test_round_trip(tmp_path: Path) -> None:
    Checkpoint(tensors(), STATE).write(tmp_path / "run")
    back = Checkpoint.read(tmp_path / "run")
    assert back.state == STATE
    assert {name: value.tolist() for name, value in back.tensors.items()} == {
        name: value.tolist() for name, value in tensors().items()
    }
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_equal_content_is_equal_bytes(tmp_path: Path) -> None:
    Checkpoint(tensors(), STATE).write(tmp_path / "one")
    Checkpoint(dict(reversed(tensors().items())), dict(reversed(STATE.items()))).write(tmp_path / "two")
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_failed_write_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Checkpoint(tensors(), STATE).write(tmp_path / "run")
    before = (tmp_path / "run").read_bytes()

    def full(descriptor: int) -> None:
        raise OSError("no space left")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="no space"):
        Checkpoint({}, {}).write(tmp_path / "run")
    assert (tmp_path / "run").read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("kept", [0, 7, 40, -3])
def test_damaged_file_is_told(tmp_path: Path, kept: int) -> None:
    Checkpoint(tensors(), STATE).write(tmp_path / "run")
    (tmp_path / "run").write_bytes((tmp_path / "run").read_bytes()[:kept])
    with pytest.raises(CorruptObject, match="remove it"):
        Checkpoint.read(tmp_path / "run")


def test_optimizer_goes_on_with_its_moments() -> None:
    def trained(steps: int, restart_at: int) -> torch.Tensor:
        weight = torch.nn.Parameter(torch.ones(5))
        optimizer = torch.optim.AdamW([weight], fused=True)
        for step in range(steps):
            if step == restart_at:
                saved = {name: value.clone() for name, value in optimizer_tensors(optimizer).items()}
                optimizer = torch.optim.AdamW([weight], fused=True)
                load_optimizer(optimizer, saved)
            weight.grad = torch.linspace(-1, 1, 5) * (step + 1)
            optimizer.step()
        return weight.detach()

    assert torch.equal(trained(6, restart_at=3), trained(6, restart_at=99))
