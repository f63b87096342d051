"""Tensors of the task's own in place of some of the body's."""

from collections.abc import Mapping

from torch import Tensor, nn

from peter.nn.backbone import Backbone
from peter.nn.view import TABLE, Grafted


class OwnTensors(nn.Module):
    """Copies of tensors by name in the body's state dict, trained in their place; a `Trunk`."""

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.own = nn.ParameterDict(
            {key(name): nn.Parameter(tensor.detach().clone()) for name, tensor in tensors.items()}
        )

    @property
    def later(self) -> bool:
        """Whether items that came after the body are read: not by an item table of one's own."""
        return key(TABLE) not in self.own

    def view(self, body: Backbone, token: Tensor | None = None) -> Grafted:
        return Grafted(body, own=self.tensors(), token=token)

    def tensors(self) -> dict[str, Tensor]:
        """By name in the body's state dict."""
        return {name.replace("/", "."): tensor for name, tensor in self.own.items()}


def key(name: str) -> str:
    """A dot cannot stand in a parameter's name; a slash stands for it."""
    return name.replace(".", "/")
