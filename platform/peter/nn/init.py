"""Initial values: truncated normal, every tensor from its own generator, so that no two start alike."""

import hashlib

import torch
from torch import Tensor, nn

STD = 0.02


def generator(*key: object) -> torch.Generator:
    """A generator seeded by everything in `key` and by nothing else: (seed, name), (seed, epoch, step) ..."""
    return torch.Generator().manual_seed(seed_of(*key))


def seed_of(*key: object) -> int:
    """A seed that everything in `key` decides."""
    digest = hashlib.blake2b("/".join(map(str, key)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


@torch.no_grad()
def truncated_normal_(tensor: Tensor, seed: int, name: str, std: float = STD) -> Tensor:
    """Fill in place from N(0, std^2) cut at two standard deviations; `name` sets the tensor apart."""
    values = torch.empty(tensor.shape)
    nn.init.trunc_normal_(values, std=std, a=-2 * std, b=2 * std, generator=generator(seed, name))
    return tensor.copy_(values)


def initialise(module: nn.Module, seed: int | None) -> None:
    """Every matrix of `module` by `truncated_normal_` under its own name; biases and norms stay as built.

    Without a seed nothing is drawn: the values come from a file, and to draw an item table takes seconds.
    """
    if seed is None:
        return
    for name, parameter in module.named_parameters():
        if parameter.dim() > 1:
            truncated_normal_(parameter, seed, name)
