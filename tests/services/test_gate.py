"""The gate promotes what is better, and says when it cannot know."""

import pytest
import torch
from torch import Tensor

from peter.data.histories import Histories
from peter.methods import Examples, Setting
from peter.services.gate import Verdict, judge
from peter.task import kind
from peter.testing import ITEMS, tiny_body

CLASSES = 2


def verdict(users: int, signal: float, *rivals: float) -> Verdict:
    """Judge outputs of which the right class stands out by `signal`, against rivals' that do so by theirs."""
    generator = torch.Generator().manual_seed(users)
    targets = torch.randint(CLASSES, (users,), generator=generator)
    right = torch.nn.functional.one_hot(targets, CLASSES)

    def outputs(strength: float) -> Tensor:
        return strength * right + torch.randn(users, CLASSES, generator=generator)  # [B, K]

    classes = kind("classification")
    setting = Setting(tiny_body(), ITEMS, classes, classes.schema([("a",), ("b",)]), seed=0)
    nobody = Histories(torch.zeros(0, dtype=torch.int64), torch.zeros(users + 1, dtype=torch.int64))
    named = {f"rival {at}": outputs(strength) for at, strength in enumerate(rivals, 1)}
    return judge(setting, Examples(nobody, targets), outputs(signal), named)


@pytest.mark.parametrize(
    ("users", "signal", "rivals", "promote", "said"),
    [
        (2000, 2.0, (0.5,), True, "better than rival 1 on 2000 validation users"),
        (2000, 2.0, (0.5, 0.0), True, "better than rival 1 and rival 2 on 2000 validation users"),
        (2000, 0.5, (2.0,), False, "not better than rival 1: log_loss gain -"),
        (2000, 2.0, (0.5, 4.0), False, "not better than rival 2: log_loss gain -"),
        (40, 1.5, (1.0,), False, "40 validation users are too few to tell it from rival 1: log_loss gain +"),
        (40, 9.0, (0.0,), True, "better than rival 1 on 40 validation users"),
    ],
)
def test_verdicts(users: int, signal: float, rivals: tuple[float, ...], promote: bool, said: str) -> None:
    found = verdict(users, signal, *rivals)
    assert found.reason.startswith(said)
    assert found.promote == promote
    assert list(found.gains) == [f"rival {at}" for at in range(1, len(rivals) + 1)]


def test_the_very_same_outputs_are_no_gain() -> None:
    outputs = torch.randn(200, CLASSES, generator=torch.Generator().manual_seed(0))
    classes = kind("classification")
    setting = Setting(tiny_body(), ITEMS, classes, classes.schema([("a",), ("b",)]), seed=0)
    users = Examples(Histories(torch.zeros(0).long(), torch.zeros(201).long()), torch.arange(200) % CLASSES)
    found = judge(setting, users, outputs, {"itself": outputs.clone()})
    assert not found.promote
    assert found.gains["itself"] == {"value": 0.0, "low": 0.0, "high": 0.0}
