"""What there is to know about backbones."""

from typing import Any

from peter.registry import backbones, models
from peter.services.workspace import Workspace


def list_backbones(workspace: Workspace) -> dict[str, Any]:
    """`{backbones: [{name, version, event_log, objective, params, frozen}]}`."""
    with workspace.registry.read() as session:
        return {"backbones": [_line(row) for row in backbones.every(session)]}


def show_backbone(workspace: Workspace, reference: str) -> dict[str, Any]:
    """One backbone version with its hashes, configuration and metrics. Raises UnknownName."""
    with workspace.registry.read() as session:
        return document(backbones.get(session, reference))


def document(row: models.Backbone) -> dict[str, Any]:
    """A backbone as scripts read it."""
    return {
        **_line(row),
        "weights_sha256": row.weights_sha256,
        "vocab_sha256": row.vocab_sha256,
        "architecture": row.architecture,
        "config": row.config,
        "metrics": row.metrics,
        "run": row.run_id,
    }


def _line(row: models.Backbone) -> dict[str, Any]:
    return {
        "name": row.name,
        "version": row.version,
        "event_log": row.event_log.reference,
        "objective": row.objective,
        "params": row.params,
        "frozen": row.frozen_at.isoformat(timespec="seconds"),
    }
