"""Which blocks of its own a task lets a user have: a gate a block, from the user's newest window."""

from collections.abc import Callable, Mapping
from typing import Literal, Protocol

import torch
from torch import Tensor, nn

from peter.nn.blocks import ResidualBlock, mask
from peter.nn.dropout import Logistic
from peter.nn.embedding import PAD, ItemEmbedding
from peter.nn.graft import Ungrafted
from peter.nn.init import generator, initialise, seed_of, truncated_normal_
from peter.nn.readout import EVENTS, by_length

PRIME = 2**31 - 1

Rule = Literal["hard", "soft", "reinforced"]


class Policy(Protocol):
    """An nn.Module."""

    def __call__(self, items: Tensor, table: ItemEmbedding) -> Tensor:
        """Gates [b, N] of windows [b, L] of rows of an item table [V, C] and of its later ones."""


class Always(nn.Module):
    """Every gate open: the same for everybody."""

    def __init__(self, blocks: int) -> None:
        super().__init__()
        self.blocks = blocks  # N

    def forward(self, items: Tensor, table: ItemEmbedding) -> Tensor:
        return torch.ones(len(items), self.blocks, device=table.weight.device)


class Random(nn.Module):
    """A share of the gates, drawn a user by hashing the window: what knows nothing and is as often open.

    Hashes (a S + b) mod P of the sum S of its rows, with a and b drawn a block (Carter and Wegman, 1979), so
    that the draw of a window is the same in training, in serving and on any machine.
    """

    def __init__(self, blocks: int, share: float, seed: int) -> None:
        super().__init__()
        self.share = share
        keys = torch.randint(1, PRIME, (2, blocks), generator=generator(seed, "policy"))
        self.register_buffer("keys", keys, persistent=False)  # a and b [2, N]

    def forward(self, items: Tensor, table: ItemEmbedding) -> Tensor:
        a, b = self.get_buffer("keys")
        hashes = (a * (items.to(a.device).sum(1, keepdim=True) % PRIME) + b) % PRIME  # [b, N]
        gates: Tensor = (hashes < self.share * PRIME).to(table.weight)
        return gates


class PolicyNet(nn.Module):
    """Two causal blocks of W channels on the frozen item embedding, their mean over time, N logits."""

    def __init__(self, channels: int, width: int, blocks: int, seed: int) -> None:
        super().__init__()
        self.down = nn.Linear(channels, width, bias=False)  # C -> W
        self.blocks = nn.ModuleList(ResidualBlock(width, 3, dilation, causal=True) for dilation in (1, 4))
        self.logits = nn.Linear(width, blocks)  # W -> N
        initialise(self, seed_of(seed, "policy"))
        truncated_normal_(self.down.weight, seed_of(seed, "policy"), "down", std=channels**-0.5)
        nn.init.zeros_(self.logits.bias)

    def forward(self, items: Tensor, table: ItemEmbedding) -> Tensor:
        items = items.T  # [l, b]
        real = (items != PAD).unsqueeze(-1).to(table.weight.dtype)  # [l, b, 1]
        x = mask(self.down(table(items)), real)  # [l, b, W]
        for block in self.blocks:
            x = block(x, real, Ungrafted(), 0)
        logits: Tensor = self.logits(x.sum(0) / real.sum(0).clamp(min=1))  # [b, N]
        return logits


class Learnt(nn.Module):
    """Gates of a policy network under one of `RULES`; noise only where a gradient is asked for.

    Taken with a gradient, the choices of `reinforced` are kept until somebody asks for them.
    """

    def __init__(self, net: PolicyNet, rule: Rule, temperature: float, seed: int) -> None:
        super().__init__()
        self.net, self.rule, self.temperature = net, RULES[rule], temperature
        self.noise = Logistic(seed)
        self.kept: list[tuple[Tensor, Tensor]] = []

    def forward(self, items: Tensor, table: ItemEmbedding) -> Tensor:
        device = table.weight.device
        parts = [(rows, self.net(some.to(device), table)) for rows, some in by_length(items, EVENTS)]
        rows, logits = (torch.cat(each) for each in zip(*parts, strict=True))
        return self.rule(self, logits[rows.argsort()])

    def taken(self) -> tuple[Tensor, Tensor]:
        """Choices [B, N] since the last call, and the logits [B, N] that they were drawn from."""
        choices, logits = (torch.cat(parts) for parts in zip(*self.kept, strict=True))
        self.kept.clear()
        return choices, logits


def hard(policy: Learnt, logits: Tensor) -> Tensor:
    """Open where logit and noise are above 0; backwards, the sigmoid of both (straight-through)."""
    noisy: Tensor = logits + policy.noise(logits)
    smooth = (noisy / policy.temperature).sigmoid()
    return (noisy > 0).to(logits) + (smooth - smooth.detach())  # the bracket is exactly 0


def soft(policy: Learnt, logits: Tensor) -> Tensor:
    """Open as far as the sigmoid says."""
    return logits.sigmoid()


def reinforced(policy: Learnt, logits: Tensor) -> Tensor:
    """Open where logit and noise are above 0; no gradient, but the choice is kept."""
    tempered = logits / policy.temperature
    choices: Tensor = (tempered.detach() + policy.noise(logits) > 0).to(logits)
    if policy.noise.noisy:
        policy.kept.append((choices, tempered))
    return choices


RULES: Mapping[Rule, Callable[[Learnt, Tensor], Tensor]] = {
    "hard": hard,
    "soft": soft,
    "reinforced": reinforced,
}
