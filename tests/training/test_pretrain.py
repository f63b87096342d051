"""Pre-training learns what can be learnt, stops, and goes on after a kill as if nothing had happened."""

import dataclasses
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from peter.config import BackboneConfig, PretrainConfig
from peter.data.histories import RESERVED, Histories
from peter.errors import InputError, PeterError
from peter.nn.backbone import build_backbone
from peter.training import pretrain as module
from peter.training.objectives import objective
from peter.training.pretrain import EpochReport, pretrain
from peter.training.pretrain_model import PretrainModel, TableModel

ITEMS = 24 + RESERVED
FAST = PretrainConfig(epochs=3, batch_size=32, learning_rate=0.01, threads=1, patience=99)


def markov(users: int, predictable: float, seed: int, length: int = 20) -> Histories:
    """The next item is the last one plus 7 with probability `predictable`, any item otherwise."""
    generator = torch.Generator().manual_seed(seed)
    real = ITEMS - RESERVED
    items = [torch.randint(real, (users,), generator=generator)]
    for _ in range(length - 1):
        kept = torch.rand(users, generator=generator) < predictable
        items.append(
            (items[-1] + 7).remainder(real).where(kept, torch.randint(real, (users,), generator=generator))
        )
    flat = torch.stack(items, dim=1).flatten() + RESERVED
    return Histories(flat, torch.arange(users + 1) * length)


def ragged(users: int, seed: int) -> Histories:
    """Users with 0 to 25 events."""
    lengths = torch.randint(0, 26, (users,), generator=torch.Generator().manual_seed(seed))
    full = markov(users, 0.8, seed, length=26)
    keep = (torch.arange(26) < lengths.unsqueeze(1)).flatten()
    return Histories(full.items[keep], torch.cat([torch.zeros(1, dtype=torch.int64), lengths.cumsum(0)]))


def fresh(causal: bool = True, seed: int = 0, architecture: str = "nextitnet") -> PretrainModel:
    config = BackboneConfig(architecture, channels=16, blocks=2, max_length=10, causal=causal)
    return TableModel(build_backbone(config, ITEMS, seed), ITEMS)


def run(model: PretrainModel, config: PretrainConfig, **options: Any) -> list[EpochReport]:
    return list(pretrain(model, ragged(80, 1), ragged(30, 2), config, **options))


def comparable(reports: list[EpochReport]) -> list[EpochReport]:
    """Without the clock."""
    return [dataclasses.replace(report, seconds=0, examples_per_second=0) for report in reports]


def equal(one: PretrainModel, other: PretrainModel) -> bool:
    others = other.state_dict()
    return all(torch.equal(value, others[name]) for name, value in one.state_dict().items())


@pytest.mark.parametrize("negatives", [0, 12])
@pytest.mark.parametrize(("predictable", "expected"), [(0.9, 0.9 + 0.1 * 5 / 24), (0.0, 5 / 24)])
def test_next_item_is_learnt_exactly_when_it_can_be(
    predictable: float, expected: float, negatives: int
) -> None:
    config = dataclasses.replace(FAST, epochs=6, negatives=negatives)
    train, valid = markov(300, predictable, 1), markov(300, predictable, 2)
    reports = list(pretrain(fresh(), train, valid, config))
    assert reports[-1].metrics["hit@5"] == pytest.approx(expected, abs=0.08)


@pytest.mark.parametrize("dropout", [0.0, 0.1])
def test_a_transformer_learns_it_too(dropout: float) -> None:
    config = dataclasses.replace(FAST, epochs=8, dropout=dropout)
    reports = list(pretrain(fresh(architecture="sasrec"), markov(300, 0.9, 1), markov(300, 0.9, 2), config))
    assert reports[-1].metrics["hit@5"] == pytest.approx(0.9, abs=0.08)


def test_gaps_are_filled_from_both_sides() -> None:
    config = dataclasses.replace(FAST, epochs=8, objective="gap-fill")
    reports = list(pretrain(fresh(causal=False), markov(400, 0.95, 1), markov(200, 0.95, 2), config))
    assert reports[-1].metrics["hit@5"] > 0.8


def test_bfloat16_activations_learn_as_well() -> None:
    reports = run(fresh(), FAST), run(fresh(), dataclasses.replace(FAST, precision="bf16"))
    for exact, rough in zip(*reports, strict=True):
        assert exact.train_loss != rough.train_loss
        assert exact.train_loss == pytest.approx(rough.train_loss, rel=0.03)
        assert exact.valid_loss == pytest.approx(rough.valid_loss, rel=0.03)


def test_best_epoch_is_kept_and_patience_ends_the_run() -> None:
    model = fresh()
    config = dataclasses.replace(FAST, epochs=60, patience=2, learning_rate=0.03)
    reports = list(pretrain(model, markov(20, 0.3, 1), markov(100, 0.3, 2), config))
    best = min(reports, key=lambda report: report.valid_loss)
    assert len(reports) == best.epoch + 2 < 60
    assert [report for report in reports if report.best][-1] == best
    again = list(
        pretrain(
            fresh(), markov(20, 0.3, 1), markov(100, 0.3, 2), dataclasses.replace(config, epochs=best.epoch)
        )
    )
    assert again[-1].valid_loss == best.valid_loss


def test_same_seed_same_bits_other_seed_other_bits() -> None:
    models = [fresh(), fresh(), fresh()]
    seeds = [0, 0, 1]
    for model, seed in zip(models, seeds, strict=True):
        torch.manual_seed(time.time_ns() % 1000)
        run(model, dataclasses.replace(FAST, epochs=1, seed=seed))
    assert equal(models[0], models[1])
    assert not equal(models[0], models[2])


@pytest.mark.parametrize(
    ("objective", "negatives"),
    [("next-item", 0), ("next-item", 8), ("gap-fill", 0), ("contrastive", 0), ("next-item+contrastive", 8)],
)
def test_resumed_run_ends_with_the_same_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, objective: str, negatives: int
) -> None:
    config = dataclasses.replace(FAST, objective=objective, negatives=negatives, dropout=0.1)
    causal = objective != "gap-fill"
    whole = fresh(causal)
    reports = run(whole, config)
    monkeypatch.setattr(module, "STEPS", 1)
    steps, stopped = 0, 0
    real_step = module._Run._step

    def interrupted(self: Any, *arguments: Any) -> float:
        nonlocal steps
        steps += 1
        if steps % 3 == 0:
            raise KeyboardInterrupt
        return real_step(self, *arguments)

    monkeypatch.setattr(module._Run, "_step", interrupted)
    while True:
        model = fresh(causal, seed=steps)  # whatever it starts from, the checkpoint decides
        if stopped == 0:
            model = fresh(causal)
        try:
            pieces = run(model, config, checkpoint=tmp_path / "run")
            break
        except KeyboardInterrupt:
            stopped += 1
    assert stopped > 3
    assert equal(model, whole)
    assert comparable(pieces) == comparable(reports)


def test_finished_run_gives_its_reports_again(tmp_path: Path) -> None:
    first, second = fresh(), fresh(seed=5)
    reports = run(first, FAST, checkpoint=tmp_path / "run")
    assert run(second, FAST, checkpoint=tmp_path / "run") == reports
    assert equal(first, second)


VICTIM = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from test_pretrain import FAST, fresh, run
from peter.training import pretrain
pretrain.STEPS = 1
print("ready", flush=True)
run(fresh(), FAST, checkpoint=Path(sys.argv[2]))
"""


@pytest.mark.slow
def test_killed_process_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    whole, resumed = fresh(), fresh(seed=9)
    run(whole, FAST)
    for _ in range(2):
        victim = subprocess.Popen(
            [sys.executable, "-c", VICTIM, str(Path(__file__).parent), str(tmp_path / "run")],
            stdout=subprocess.PIPE,
        )
        assert victim.stdout is not None
        victim.stdout.readline()
        while not (tmp_path / "run").exists():
            time.sleep(0.005)
        time.sleep(0.05)
        os.kill(victim.pid, signal.SIGKILL)
        victim.communicate()
    run(resumed, FAST, checkpoint=tmp_path / "run")
    assert equal(whole, resumed)


def test_checkpoint_of_another_run_is_refused(tmp_path: Path) -> None:
    run(fresh(), dataclasses.replace(FAST, epochs=1), checkpoint=tmp_path / "run")
    with pytest.raises(InputError, match="remove it"):
        run(fresh(), dataclasses.replace(FAST, epochs=1, learning_rate=0.02), checkpoint=tmp_path / "run")


def test_padding_row_never_moves() -> None:
    model = fresh()
    run(model, dataclasses.replace(FAST, epochs=1, weight_decay=0.1))
    assert not model.body.item_embedding.weight[0].any()


def test_loss_does_not_see_padding() -> None:
    model = fresh()
    asking = objective(FAST, causal=True)
    windows = asking.windows(markov(6, 0.5, 0, length=11), 10)
    padded = torch.nn.functional.pad(windows, (4, 0))
    generator = torch.Generator()
    plain, longer = (model(asking.batch(seen, ITEMS, generator)) for seen in (windows, padded))
    torch.testing.assert_close(plain, longer)


@pytest.mark.parametrize(
    ("train", "valid"),
    [(ragged(0, 0), ragged(9, 0)), (ragged(9, 0), Histories(torch.arange(4, 6), torch.arange(3)))],
)
def test_too_little_data_is_told(train: Histories, valid: Histories) -> None:
    with pytest.raises(InputError, match="two events"):
        list(pretrain(fresh(), train, valid, FAST))


@pytest.mark.parametrize(
    "settings",
    [{"epochs": 0}, {"patience": 0}, {"batch_size": 0}, {"learning_rate": math.nan}, {"seed": -1}],
)
def test_settings_that_make_no_run_are_told(settings: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="or more"):
        PretrainConfig(**settings)


def test_exploding_loss_ends_the_run() -> None:
    model = fresh()
    with torch.no_grad():
        model.bias.fill_(float("nan"))
    with pytest.raises(PeterError, match="learning_rate"):
        run(model, FAST)
