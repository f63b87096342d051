"""A frozen backbone, read from the store and held against its hash."""

import hashlib
from dataclasses import dataclass, replace
from functools import partial

from safetensors.torch import load_file

from peter.config import BackboneConfig, from_dict
from peter.errors import CorruptObject, PeterError
from peter.methods import Setting
from peter.nn.backbone import Backbone, build_backbone
from peter.nn.names import part
from peter.nn.owned import Root
from peter.nn.view import TABLE
from peter.registry import models
from peter.services.backbone.catalogues import Described
from peter.services.workspace import Workspace
from peter.task import Schema, TaskKind

BODY = "body."  # prefix of the body's tensors in a backbone object; the rest is its output table


@dataclass(frozen=True)
class Frozen:
    """A backbone version: the body in memory and what identifies it."""

    id: int
    name: str
    version: int
    event_log_id: int
    sha256: str
    vocab_sha256: str
    salt: str
    items: int  # V
    config: BackboneConfig
    body: Backbone
    root: Root | None  # what it keeps of its weights, if it was pruned
    described: Described | None  # its items, if it knows them by features

    @property
    def reference(self) -> str:
        """name@version."""
        return f"{self.name}@{self.version}"

    def setting(self, kind: TaskKind, schema: Schema, seed: int) -> Setting:
        """What a patch on it is made for, as far as the backbone decides that."""
        items = schema.get("items")  # of tasks whose outputs are items
        found = self.described
        return Setting(
            self.body, self.items, kind, schema, seed, root=self.root,
            catalogue=found.catalogue if found else None,
            asked=partial(found.of_items, items) if found and items else None,
        )  # fmt: skip

    def cut(self, pruned: float) -> "Frozen":
        """As the root of a lineage that is derived from it will be, but for what that learns anew."""
        return replace(self, root=Root.cut(self.body, pruned))


def load(workspace: Workspace, row: models.Backbone) -> Frozen:
    """Read a backbone version; its tensors are private maps of the stored file.

    Raises:
        CorruptObject: the object is damaged or does not fit the registered architecture.
    """
    tensors = load_file(workspace.objects.path(row.weights_sha256))
    config = from_dict(BackboneConfig, row.architecture)
    items = len(tensors[BODY + TABLE])
    body = build_backbone(config, items, seed=None)
    try:
        body.load_state_dict(part(BODY, tensors), assign=True)
    except RuntimeError as error:
        raise CorruptObject(f"The weights of {row.reference} do not fit its architecture: {error}") from None
    body.eval().requires_grad_(False)
    if described := Described.of(workspace, row, tensors, body.channels):
        described.lengthen(body)
    return Frozen(
        row.id, row.name, row.version, row.event_log_id, row.weights_sha256, row.vocab_sha256,
        row.salt, items, config, body, Root.of(tensors, body), described,
    )  # fmt: skip


def fingerprint(body: Backbone) -> str:
    """sha256 over the bytes of every tensor of the body."""
    digest = hashlib.sha256()
    for name, tensor in sorted(body.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()


def require_untouched(base: Frozen, before: str) -> None:
    """Raises PeterError when the body's bytes are no longer those of `before`."""
    if fingerprint(base.body) != before:
        raise PeterError(f"A method wrote to the frozen backbone {base.reference}; nothing was registered.")
