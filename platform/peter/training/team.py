"""The processes that train one model together; one that trains alone is a team of its own."""

from dataclasses import dataclass, field

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel


@dataclass(frozen=True)
class Team:
    """This process's place in it. All members see every batch and learn from their own rows of it.

    With more than one member, torch's default process group connects them.
    """

    rank: int = 0
    size: int = 1
    threads: int | None = None  # intra-op threads of a member; None: those of the run
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    @property
    def leads(self) -> bool:
        """Whether it speaks and writes for all."""
        return self.rank == 0

    def learner(self, model: nn.Module) -> nn.Module:
        """What computes losses of `model` whose gradients are the mean over the members."""
        return model if self.size == 1 else DistributedDataParallel(model)

    def own(self, rows: Tensor) -> Tensor:
        """The rows [b] of [B] that are this member's; lengths that rise are shared out fairly."""
        return rows[self.rank :: self.size]

    def summed(self, *values: float) -> list[float]:
        """Each value summed over the members; the same bits for all of them."""
        if self.size == 1:
            return list(values)
        total = torch.tensor(values, dtype=torch.float64, device=self.device)
        distributed.all_reduce(total)
        return total.tolist()

    def joined(self, values: Tensor) -> Tensor:
        """The values [b] of all members in one tensor, in the order of their ranks."""
        if self.size == 1:
            return values
        parts: list[Tensor] = [values] * self.size
        distributed.all_gather_object(parts, values)
        return torch.cat(parts)


ALONE = Team()
