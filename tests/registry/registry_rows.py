"""Small rows for the tests of the registry."""

import hashlib
from typing import Any

from sqlalchemy.orm import Session

from peter.registry import aliases, backbones, event_logs, patches, tasks
from peter.registry.models import Backbone, EventLog, LabelSet, Patch, Task


def sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def event_log(name: str = "movies", **changes: Any) -> EventLog:
    values: dict[str, Any] = {
        "sha256": sha("sequences"),
        "users_sha256": sha("users"),
        "vocab_sha256": sha("vocabulary"),
        "users": 943,
        "items": 1682,
        "events": 3_000_000_000,
        "first_at": 874_724_710,
        "last_at": 893_286_638,
        "time_unit": "s",
        "report": {"rejected": 0},
    }
    return EventLog(name=name, **values | changes)


def backbone(log: EventLog, name: str = "movies", **changes: Any) -> Backbone:
    values: dict[str, Any] = {
        "architecture": {"architecture": "nextitnet", "channels": 64},
        "config": {"epochs": 30},
        "objective": "next-item",
        "salt": "peter",
        "params": 123_456,
        "weights_sha256": sha("weights"),
        "vocab_sha256": sha("vocabulary"),
        "metrics": {"mrr@5": {"value": 0.1, "low": 0.08, "high": 0.12}},
    }
    return Backbone(name=name, event_log=log, **values | changes)


def task(name: str = "gender", owner: str = "ann") -> Task:
    return Task(name=name, kind="classification", owner=owner, outputs={"classes": ["F", "M"]})


def labels(of: Task, text: str = "labels") -> LabelSet:
    return LabelSet(task=of, sha256=sha(text), rows=943, users=943, report={"F": 273, "M": 670})


def patch(of: LabelSet, on: Backbone, request: str = "first") -> Patch:
    return Patch(
        task=of.task,
        backbone=on,
        label_set=of,
        method="peter",
        config={"wide": True},
        fit={"epochs": 30},
        request_sha256=sha(request),
        weights_sha256=sha(f"weights of {request}"),
        params=4321,
        metrics={"test": {"accuracy": {"value": 0.8, "low": 0.7, "high": 0.9}}},
    )


def world(session: Session, name: str = "gender") -> Patch:
    """An event log, a backbone on it, and a task whose first version is its champion."""
    log = event_logs.add(session, event_log(), "ann")
    body = backbones.add(session, backbone(log), "ann")
    return first_version(session, body, name)


def first_version(session: Session, body: Backbone, name: str) -> Patch:
    """A task on `body` whose first version is its champion."""
    label_set = tasks.add_labels(session, labels(tasks.add(session, task(name), "ann")), "ann")
    made = patches.add(session, patch(label_set, body), "ann")
    aliases.move(session, made, aliases.CHAMPION, "ann", "first version")
    return made
