"""Coverage: how many events of a log are of items that a backbone knows; it reads the others as UNK."""

from typing import Any

from peter.registry import aliases, event_logs, models
from peter.services.workspace import Workspace

LEAST = 0.95  # share of a log's events; whoever answers from it by a backbone that knows fewer is told so


def coverage(workspace: Workspace, log: models.EventLog) -> list[dict[str, Any]]:
    """`[{backbone, tasks, known}]`: the backbones by which tasks answer from what `log` holds."""
    with workspace.registry.read() as session:
        line = {each.id for each in event_logs.lineage(session, log)}
        champions = [each for each in aliases.champions(session) if each.backbone.event_log_id in line]
    bases = {patch.backbone.reference: patch.backbone for patch in champions}
    return [
        {
            "backbone": name,
            "tasks": [patch.task.name for patch in champions if patch.backbone_id == base.id],
            "known": known_events(workspace, log, base),
        }
        for name, base in sorted(bases.items())
    ]


def known_events(workspace: Workspace, log: models.EventLog, base: models.Backbone) -> int:
    """How many events of `log`, which begins with those that `base` learnt from, `base` can tell apart."""
    import pyarrow.parquet as pq

    if not (later := log.items - base.event_log.items):  # items, whose rows are the last
        return log.events
    counts = pq.read_table(workspace.objects.path(log.vocab_sha256), columns=["count"])["count"].to_numpy()
    own, since = counts[:-later], counts[-later:]
    if log.items_sha256 is None:
        return int(own.sum())
    known = _described(workspace, base)[:later]
    return int(own.sum() + since[: len(known)][known].sum())


def _described(workspace: Workspace, base: models.Backbone) -> Any:
    """[N] of which items that came to its log later a backbone knows anything; empty where of none."""
    import numpy as np

    from peter.services.backbone import frozen  # torch, for the few who need it

    described = frozen.load(workspace, base).described
    return described.later_known if described else np.empty(0, bool)
