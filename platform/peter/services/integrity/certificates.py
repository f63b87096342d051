"""The certificate: golden outputs by which anyone can check that a patch still answers bit for bit as before.

The probe batch is synthetic and seeded by the backbone's hash: forgetting a user breaks none.
"""

import hashlib
import platform
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from peter.data.histories import RESERVED, Histories
from peter.errors import PeterError
from peter.services.backbone.frozen import Frozen
from peter.training.fit import predict
from peter.training.threads import threads

USERS = 16
LONGEST = 3  # windows: the probe must cross a window's edge
TOLERANCE = 1e-4  # on logits, where another machine or torch sums in another order


def probe(base: Frozen) -> Histories:
    """The fixed batch of a backbone: one user without events, the others of growing length."""
    generator = torch.Generator().manual_seed(int(base.sha256[:15], 16))
    lengths = torch.linspace(0, LONGEST * base.body.max_length, USERS).long()
    offsets = torch.cat([lengths.new_zeros(1), lengths.cumsum(0)])
    items = torch.randint(RESERVED, base.items, (int(offsets[-1]),), generator=generator)
    return Histories(items, offsets)


def issue(base: Frozen, patch: nn.Module) -> dict[str, Any]:
    """The patch's golden outputs on this machine: fp32, one thread, one fixed batch."""
    with threads(1):
        outputs = predict(patch, base.body, probe(base))
    return {"sha256": _digest(outputs), "outputs": outputs.tolist(), "kernels": _kernels()}


def check(base: Frozen, patch: nn.Module, certificate: Mapping[str, Any] | None, name: str) -> None:
    """Recompute and compare; bits on the same kernels, `TOLERANCE` elsewhere.

    Raises:
        PeterError: the patch answers otherwise than when it was registered, or nobody noted how it did.
    """
    if certificate is None:
        raise PeterError(f"{name} has no certificate to be held against; train it again.")
    if not holds(base, patch, certificate):
        raise PeterError(
            f"{name} no longer answers as it was registered: something changed it or its backbone; "
            "run `peter verify` to see what."
        )


def holds(base: Frozen, patch: nn.Module, certificate: Mapping[str, Any]) -> bool:
    """Whether the patch answers now as it did when its certificate was issued."""
    now = issue(base, patch)
    if now["kernels"] == certificate["kernels"]:
        return bool(now["sha256"] == certificate["sha256"])
    then = torch.tensor(certificate["outputs"])
    return torch.allclose(torch.tensor(now["outputs"]), then, rtol=0, atol=TOLERANCE)


def _digest(outputs: Tensor) -> str:
    return hashlib.sha256(outputs.contiguous().numpy().tobytes()).hexdigest()


def _kernels() -> str:
    return f"torch {torch.__version__} {platform.machine()} {torch.backends.cpu.get_cpu_capability()}"
