"""Coverage: how many events of a log are of items that a backbone knows; it reads the others as UNK."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from peter.errors import InputError
from peter.registry import aliases, event_logs, models
from peter.services.workspace import Workspace

if TYPE_CHECKING:
    from peter.services.backbone.frozen import Frozen

LEAST = 0.95  # share of a log's events; whoever answers from it by a backbone that knows fewer is told so


def coverage(workspace: Workspace, log: models.EventLog) -> list[dict[str, Any]]:
    """`[{backbone, tasks, features, known, fault}]`: the backbones by which tasks answer from `log`.

    `features`: whether a backbone knows items by their features, so also items that came after it. `known`:
    None where it cannot be told, and `fault` says why.
    """
    with workspace.registry.read() as session:
        line = {each.id for each in event_logs.lineage(session, log)}
        champions = [each for each in aliases.champions(session) if each.backbone.event_log_id in line]
    bases = {patch.backbone.reference: patch.backbone for patch in champions}
    return [
        {
            "backbone": name,
            "tasks": [patch.task.name for patch in champions if patch.backbone_id == base.id],
            "features": bool(base.features),
            **_told(workspace, log, base),
        }
        for name, base in sorted(bases.items())
    ]


def _told(workspace: Workspace, log: models.EventLog, base: models.Backbone) -> dict[str, Any]:
    def opened(base: models.Backbone) -> "Frozen":
        from peter.services.backbone import frozen  # torch, for the few who need it

        return frozen.load(workspace, base)

    try:
        return {"known": known_events(workspace, log, base, opened), "fault": None}
    except InputError as error:  # whoever has appended must not hear that nothing was changed
        return {"known": None, "fault": str(error)}


def known_events(
    workspace: Workspace,
    log: models.EventLog,
    base: models.Backbone,
    opened: "Callable[[models.Backbone], Frozen]",
) -> int:
    """How many events of `log`, which begins with those that `base` learnt from, `base` can tell apart.

    Args:
        opened: opens `base`, for which it is asked only if it knows later items by their features.

    Raises:
        InputError: the backbone, or the log's vocabulary, cannot be opened.
    """
    import pyarrow.parquet as pq

    if not (later := log.items - base.event_log.items):  # items, whose rows are the last
        return log.events
    counts = pq.read_table(workspace.objects.path(log.vocab_sha256), columns=["count"])["count"].to_numpy()
    own, since = counts[:-later], counts[-later:]
    if not base.features:
        return int(own.sum())
    described = opened(base).described
    assert described is not None, "it has features"
    known = described.later_known[:later]  # of the newest version
    return int(own.sum() + since[: len(known)][known].sum())
