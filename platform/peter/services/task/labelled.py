"""The labelled users of one task, ready for a backbone: their histories, targets and split."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from peter.data.event_log import EventLog
from peter.data.labels import LabelTable, match
from peter.data.splits import TEST, TRAIN, VALID, assign
from peter.errors import InputError
from peter.methods import Examples
from peter.services.backbone.frozen import Frozen
from peter.task import Schema, TaskKind

PARTS = {"training": TRAIN, "validation": VALID, "test": TEST}


@dataclass(frozen=True)
class Labelled:
    """Examples by part of the split; a test user is seen by nothing but the final report."""

    train: Examples
    valid: Examples
    test: Examples
    report: dict[str, Any]  # users with labels, without events (before their label), and by part


def prepare(base: Frozen, log: EventLog, labels: LabelTable, kind: TaskKind, schema: Schema) -> Labelled:
    """Join labels with events as they were before each label's own timestamp, and split by user.

    Raises:
        InputError: most users have no events, or a part of the split would be empty.
    """
    rows, kept, found = match(labels, log)
    order = np.argsort(rows, kind="stable")  # the log's: the order of the file is no part of a request
    rows, kept = rows[order], kept[order]
    before = None if labels.timestamps is None else np.asarray(labels.timestamps)[kept]
    histories = log.histories(rows, before)
    targets = kind.encode([labels.labels[at] for at in kept], schema)
    part = assign([labels.users[at] for at in kept], base.salt)
    report: dict[str, Any] = dict(found)
    if before is not None:
        report["without_earlier_events"] = int((histories.lengths == 0).sum())
    examples: list[Examples] = []
    for name, value in PARTS.items():
        users = torch.from_numpy(np.flatnonzero(part == value))
        if not len(users):
            raise InputError(
                f"None of the {len(part)} labelled users with events falls into the {name} part of the "
                "split; give labels of more users."
            )
        examples.append(Examples(histories.select(users), targets[users]))
        report[name] = len(users)
    train, valid, test = examples
    return Labelled(train, valid, test, report)
