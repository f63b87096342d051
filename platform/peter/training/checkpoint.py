"""Checkpoints: one safetensors file, replaced atomically, from which a killed run goes on bit for bit."""

import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from peter.errors import CorruptObject

STATE = "state"  # the one metadata key; two or more would not keep their order


@dataclass(frozen=True)
class Checkpoint:
    """Tensors by name, and counters as plain JSON values."""

    tensors: Mapping[str, Tensor]
    state: Mapping[str, Any]

    def write(self, path: Path) -> None:
        """Replace `path`; a kill at any moment leaves the old file or the new one."""
        state = json.dumps(self.state, sort_keys=True, separators=(",", ":"))
        contiguous = {name: tensor.detach().contiguous() for name, tensor in self.tensors.items()}
        _replace(path, safetensors.torch.save(contiguous, metadata={STATE: state}))

    @classmethod
    def read(cls, path: Path) -> "Checkpoint":
        """What `write` wrote.

        Raises:
            CorruptObject: the file is not a whole checkpoint.
        """
        try:
            with safetensors.safe_open(path, framework="pt") as file:
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
                return cls(tensors, json.loads(file.metadata()[STATE]))
        except (safetensors.SafetensorError, KeyError, TypeError, ValueError) as error:
            raise CorruptObject(f"{path} is not a checkpoint; remove it to start again.") from error


def _replace(path: Path, content: bytes) -> None:
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with open(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The moments and step counts of an optimizer, by flat names."""
    states = optimizer.state_dict()["state"]
    return {f"{index}.{key}": value for index, state in states.items() for key, value in state.items()}


def load_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """The inverse of `optimizer_tensors`, into an optimizer over the same parameters."""
    states: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        index, _, key = name.partition(".")
        states.setdefault(int(index), {})[key] = value
    optimizer.load_state_dict({"state": states, "param_groups": optimizer.state_dict()["param_groups"]})


def copied(module: nn.Module) -> dict[str, Tensor]:
    """The state dict of `module` as it is now, whatever happens to the module."""
    return {name: value.detach().clone() for name, value in module.state_dict().items()}
