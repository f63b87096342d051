"""The default's patches on a frozen random backbone: what they do without anything pre-trained."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from torch import Tensor, nn

from peter.methods import Setting, peter
from peter.methods._deep import Deep
from peter.nn.backbone import Backbone
from peter.nn.patch import PatchGraft
from peter.nn.view import Grafted


class RandomTrunk(nn.Module):
    """Patches on a body of random values, made again from the seed whenever the patch is built.

    That body is no part of what is saved.
    """

    later = False  # its item table is random, too

    def __init__(self, body: Backbone, patches: PatchGraft) -> None:
        super().__init__()
        self.patches = patches
        self.random = (body,)  # in a tuple, which nn.Module does not look into

    def view(self, body: Backbone, token: Tensor | None = None) -> Grafted:
        return self.patches.view(self.random[0], token)


def trunk(setting: Setting, options: peter.Options) -> RandomTrunk:
    """PeterZero of PeterRec (Yuan et al., SIGIR 2020)."""
    body = setting.body.fresh(setting.seed).requires_grad_(False)
    made_for = replace(setting, body=body)
    return RandomTrunk(body, peter.trunk(made_for, options))


def peft(options: peter.Options) -> Mapping[str, Any]:
    """As of the default, whose trunk is a part of this one."""
    told = peter.peft(options)
    saved = [name.replace("trunk", "trunk.patches") for name in told["modules_to_save"]]
    return {**told, "peft_type": "BOTTLENECK_ZERO", "modules_to_save": saved}


plugin = Deep(peter.Options, trunk, peft, peter.domains)
