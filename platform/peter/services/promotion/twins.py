"""From-scratch twins, each fitted once: what it answered is kept, and who asks for the same reads that."""

import hashlib
import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field

from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor

from peter.config import to_dict
from peter.data.histories import Histories
from peter.errors import CorruptObject
from peter.registry import models, patches, tasks, twins
from peter.registry.columns import canonical
from peter.registry.objects import ObjectStore
from peter.services.patch.fitting import Fitted
from peter.services.patch.recipes import Recipe
from peter.services.patch.requests import Request
from peter.services.workspace import Workspace
from peter.task import TaskKind

REQUEST = "twin"  # the one metadata key of an object
MOST = 1 << 24  # outputs of a fit that are kept: 64 MB; of a large catalogue there are more


@dataclass(frozen=True)
class Recalled:
    """A fit by its outputs [B, K] for the validation and test users of a request; it knows nobody else."""

    kind: TaskKind
    valid: tuple[Histories, Tensor]
    test: tuple[Histories, Tensor]
    calibration: Mapping[str, float]

    @classmethod
    def of(cls, request: Request, valid: Tensor, test: Tensor) -> "Recalled":
        """Calibrated on the request's validation users, as everybody is."""
        users = request.users
        calibration = request.kind.calibrate(valid, users.valid.targets)
        return cls(request.kind, (users.valid.histories, valid), (users.test.histories, test), calibration)

    def outputs(self, histories: Histories) -> Tensor:
        return next(outputs for asked, outputs in (self.valid, self.test) if asked is histories)

    def answer(self, histories: Histories) -> Tensor:
        return self.kind.calibrated(self.outputs(histories), self.calibration)


@dataclass
class Twins:
    """The twins of a task: those that are known, and what those of one request answer."""

    objects: ObjectStore
    log: models.EventLog  # that the request's backbone learnt from
    known: Mapping[str, str]  # `request_of` -> object
    made: dict[str, bytes] = field(default_factory=dict)  # `request_of` -> an object's bytes

    @classmethod
    def of(cls, workspace: Workspace, request: Request) -> "Twins":
        """Those that the versions of its task name."""
        with workspace.registry.read() as session:
            log = session.get_one(models.EventLog, request.base.event_log_id)
            known = twins.named(patches.versions(session, tasks.get(session, request.name)))
        return cls(workspace.objects, log, known)

    def answering(self, request: Request, recipe: Recipe, fit: Callable[[], Fitted]) -> Recalled:
        """A twin by what it answers, read if it was fitted before; noted in `made` where it is worth it."""
        key = self._request(request, recipe)
        outputs = self._read(key)
        if outputs is None:
            fitted, users = fit(), request.users
            parts = {"valid": users.valid, "test": users.test}
            outputs = {name: fitted.outputs(part.histories).contiguous() for name, part in parts.items()}
        if sum(tensor.numel() for tensor in outputs.values()) <= MOST:
            self.made[key] = save(outputs, {REQUEST: canonical(key)})
        return Recalled.of(request, **outputs)

    def _request(self, request: Request, recipe: Recipe) -> str:
        """sha256 of all that decides it: of a backbone its architecture, and none of its weights."""
        base = request.base
        decides = {
            **recipe.to_json(),
            "schema": dict(request.schema),
            "architecture": to_dict(base.config),
            "items": base.items,
            "salt": base.salt,
            "labels": request.table.sha256,
            "log": [self.log.sha256, self.log.users_sha256],
        }
        return hashlib.sha256(canonical(decides).encode()).hexdigest()

    def _read(self, key: str) -> dict[str, Tensor] | None:
        """None where there is none, or a damaged one, which is put anew."""
        if key in self.known:
            with suppress(CorruptObject), safe_open(self.objects.path(self.known[key]), "pt") as file:
                if json.loads((file.metadata() or {}).get(REQUEST, "null")) == key:
                    return {name: file.get_tensor(name) for name in ("valid", "test")}
        return None
