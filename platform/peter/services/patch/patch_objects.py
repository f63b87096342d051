"""The patch object: peft's layout, holding only what the task trained, refused on any other backbone.

`adapter_model.safetensors` is the stored object; its one metadata key carries `adapter_config.json`. Stock
peft reads neither: a bottleneck patch on dilated convolutions is none of its methods.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import nn

from peter.config import to_dict
from peter.errors import CorruptObject
from peter.methods import Older, method, read_by
from peter.registry import models
from peter.registry.columns import canonical
from peter.registry.objects import ObjectStore
from peter.services.backbone.frozen import Frozen
from peter.services.patch import older
from peter.services.patch.fitting import Fitted
from peter.services.patch.packing import packed, unpacked
from peter.services.patch.recipes import Recipe

CONFIG = "adapter_config"  # one key only: with two, safetensors' bytes are not deterministic


def adapter_config(fitted: Fitted, base: Frozen) -> dict[str, Any]:
    """peft's keys where they exist, then what pins the patch to its backbone and its item table."""
    classes = fitted.setting.schema.get("classes", [])
    reads = [each.sha256 for each in read_by(fitted.patch)]
    return {
        "peft_type": f"PETER_{fitted.recipe.method.upper()}",
        "task_type": fitted.setting.kind.name.upper(),
        "base_model_name_or_path": base.name,
        "revision": str(base.version),
        "base_model_sha256": base.sha256,
        "item_vocab_sha256": base.vocab_sha256,
        "label2id": {label: at for at, label in enumerate(classes)},
        **method(fitted.recipe.method).adapter_config(fitted.recipe.options),
        **({"reads": reads} if reads else {}),
    }


def encode(fitted: Fitted, config: Mapping[str, Any]) -> bytes:
    """The object's bytes: the same patch gives the same bytes."""
    return save(packed(fitted.patch.state_dict(), fitted.setting.items), {CONFIG: canonical(config)})


def load(objects: ObjectStore, row: models.Patch, base: Frozen) -> Fitted:
    """A patch as it was registered, ready to answer.

    Raises:
        CorruptObject: damaged, made for another backbone, or not exactly the tensors of its method.
    """
    reads = older.named(objects, row.config.get("reads", ()))
    return decode(objects.path(row.weights_sha256), Recipe.of(row), row.config, base, row.reference, reads)


def decode(
    path: Path,
    recipe: Recipe,
    config: Mapping[str, Any],
    base: Frozen,
    name: str,
    reads: Sequence[Older] = (),
) -> Fitted:
    """The patch called `name` that a file holds, given what `row_config` made of it. Raises as `load`."""
    made_for = replace(base.setting(recipe.kind, config["schema"], recipe.fit.seed), older=lambda: reads)
    with safe_open(path, "pt") as file:
        stored = json.loads((file.metadata() or {}).get(CONFIG, "{}"))
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    if stored != config["adapter"] or stored.get("base_model_sha256") != base.sha256:
        raise CorruptObject(
            f"The stored patch of {name} was made for another task or backbone than {base.reference}; "
            "run `peter verify`."
        )
    if stored.get("reads", []) != [each.sha256 for each in reads]:
        raise CorruptObject(f"{name} was made to read other patches than its row names; run `peter verify`.")
    patch = method(recipe.method).build(made_for, recipe.options)
    tensors = unpacked(tensors, patch.state_dict())
    _require_tensors(patch, tensors, name)
    patch.load_state_dict(tensors)
    return Fitted(recipe, made_for, patch.eval(), config["calibration"])


def row_config(fitted: Fitted, adapter: Mapping[str, Any]) -> dict[str, Any]:
    """The patch row's configuration: with the tensors, all that `load` needs."""
    return {
        "options": to_dict(fitted.recipe.options),
        "kind": to_dict(fitted.recipe.kind),
        "schema": dict(fitted.setting.schema),
        "calibration": fitted.calibration,
        "adapter": dict(adapter),
        **({"reads": older.told(reads)} if (reads := read_by(fitted.patch)) else {}),
    }


def _require_tensors(patch: nn.Module, tensors: Mapping[str, torch.Tensor], name: str) -> None:
    wanted = {key: (tensor.dtype, tensor.shape) for key, tensor in patch.state_dict().items()}
    found = {key: (tensor.dtype, tensor.shape) for key, tensor in tensors.items()}
    if wanted != found:
        wrong = sorted(key for key in wanted.keys() | found.keys() if wanted.get(key) != found.get(key))
        raise CorruptObject(
            f"The stored patch of {name} holds other tensors than its method trains: {wrong[:5]}."
        )
    if not all(bool(tensor.isfinite().all()) for tensor in tensors.values()):
        raise CorruptObject(f"The stored patch of {name} holds numbers that are not finite.")
