"""Twins: objects with what from-scratch fits answered, named in the metrics of the versions beside them."""

from collections.abc import Iterable, Mapping
from typing import Any

from peter.registry.models import EventLog, LabelSet, Patch

KEY = "twins"  # in a version's metrics: {labels, users, objects}


def told(labels: LabelSet, log: EventLog, objects: Mapping[str, str]) -> dict[str, Any]:
    """What a version's metrics say of twins (request -> object) that learnt from those labels and users."""
    return {KEY: {**_learnt_from(labels, log), "objects": dict(objects)}} if objects else {}


def without(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Metrics as they go to another registry, or come from one: its objects are not there."""
    return {name: value for name, value in metrics.items() if name != KEY}


def named(versions: Iterable[Patch]) -> dict[str, str]:
    """Request -> object of the twins whose labels and users are still those that they learnt from.

    Nobody who was forgotten since is in any of them; removed tasks have none.
    """
    found: dict[str, str] = {}
    for patch in versions:
        twins = patch.metrics.get(KEY, {})
        present = _learnt_from(patch.label_set, patch.backbone.event_log)
        if present.items() <= twins.items() and patch.task.retired_at is None:
            found |= twins["objects"]
    return found


def _learnt_from(labels: LabelSet, log: EventLog) -> dict[str, str]:
    return {"labels": labels.sha256, "users": log.users_sha256}
