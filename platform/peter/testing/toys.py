"""A toy world: a small random body, and users whose answers their items tell."""

import hashlib
from typing import Any

import torch
from torch import Tensor

from peter.config import BackboneConfig
from peter.data.histories import RESERVED, Histories
from peter.nn.backbone import Backbone, build_backbone
from peter.nn.items import Catalogue, ItemEncoder

ITEMS = 44  # V of the toy world
USERS = 90
WIDTHS = {"text": 6, "number": 3}  # of what is known of items


def tiny_body(items: int = ITEMS, seed: int = 0, **shape: Any) -> Backbone:
    """A frozen random body: 8 channels, 2 blocks, windows of 10 events, unless `shape` says otherwise."""
    config = BackboneConfig(**{"channels": 8, "blocks": 2, "max_length": 10, **shape})
    return build_backbone(config, items, seed).requires_grad_(False)


def toy_catalogue(items: int = ITEMS, channels: int = 8) -> Catalogue:
    """Texts and prices of the toy world, random, and an encoder that was never trained."""
    generator = torch.Generator().manual_seed(0)
    features = {name: torch.randn(items, width, generator=generator) for name, width in WIDTHS.items()}
    for values in features.values():
        values[:RESERVED] = 0
    encoder = ItemEncoder(WIDTHS, channels, experts=2)
    encoder.draw(0)
    return Catalogue(encoder.requires_grad_(False), lambda: features)


def toy_users(
    users: int = USERS, types: int = 2, items: int = ITEMS, events: int = 25, seed: int = 0
) -> tuple[Histories, Tensor]:
    """Users of hidden types [B], 1 to `events` events each, two thirds on the type's own items."""
    generator = torch.Generator().manual_seed(seed)
    kinds = torch.randint(types, (users,), generator=generator)
    lengths = torch.randint(1, events + 1, (users,), generator=generator)
    owner = kinds.repeat_interleave(lengths)  # [N]
    share = (items - RESERVED) // types
    anything = torch.randint(share * types, owner.shape, generator=generator)
    drawn = torch.where(
        torch.rand(owner.shape, generator=generator) < 2 / 3, owner * share + anything % share, anything
    )
    return Histories(drawn + RESERVED, torch.cat([lengths.new_zeros(1), lengths.cumsum(0)])), kinds


def fingerprint(tensors: dict[str, Tensor]) -> str:
    """A hash of names and bits."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(
            name.encode() + tensors[name].detach().cpu().reshape(-1).view(torch.uint8).numpy().tobytes()
        )
    return digest.hexdigest()
