"""What there is to know about backbones: their numbers, who stands on them, and where they come from."""

from collections.abc import Sequence
from typing import Any

from peter.errors import UnknownName
from peter.registry import backbones, event_logs, lineage, models, references
from peter.services.workspace import Workspace
from peter.training.collapse import collapsed


def list_backbones(workspace: Workspace) -> dict[str, Any]:
    """`{backbones: [{name, version, event_log, objective, params, frozen, patches, champions}]}`.

    The last two are how many versions of tasks, and how many champions among them, stand on it.
    """
    with workspace.registry.read() as session:
        rows, versions = backbones.every(session), lineage.versions(session)
    return {"backbones": [{**_line(row), **_counted(row, versions)} for row in rows]}


def show_backbone(workspace: Workspace, reference: str) -> dict[str, Any]:
    """One backbone version with its hashes, configuration and metrics, and all that depends on it.

    Returns:
        As `document`, and `parent`, `children` and `read_by`: `[{patch, method, champion}]`; of the root of a
        lineage also what `capacity` gives.

    Raises:
        UnknownName: there is none.
    """
    with workspace.registry.read() as session:
        row = backbones.get(session, reference)
        every, versions = backbones.every(session), lineage.versions(session)
        here = sorted(version.id for version in versions if version.backbone_id == row.id)
        line = [session.get_one(models.Patch, version) for version in here] if row.pruned else []
    return {
        **document(row),
        "parent": next((other.reference for other in every if other.id == row.parent_id), None),
        "children": [other.reference for other in every if other.parent_id == row.id],
        "read_by": [_leaf(version) for version in versions if version.backbone_id == row.id],
        **({"capacity": _capacity(workspace, row, line)} if row.pruned else {}),
    }


def _capacity(workspace: Workspace, row: models.Backbone, patches: Sequence[models.Patch]) -> dict[str, Any]:
    from peter.methods import method  # torch, for those who need it
    from peter.services.backbone.capacity import capacity

    line = [patch for patch in patches if method(patch.method).rooted]
    return capacity(workspace.objects, row, line)


def tree(workspace: Workspace, reference: str | None) -> dict[str, Any]:
    """Where everything comes from: event logs, the backbones learnt from them, the patches on these.

    Args:
        reference: a backbone's name for all its versions, or one version; None: every backbone.

    Returns:
        `{event_logs: [{event_log, parent, backbones: [{backbone, patches, children}]}]}`; a patch is
        `{patch, method, champion, reads, read_by}`, and stands below the first version that it reads.

    Raises:
        UnknownName: no such backbone.
    """
    with workspace.registry.read() as session:
        grown = _Grown(backbones.every(session), lineage.versions(session))
        logs = event_logs.every(session)
    roots = grown.roots(reference)
    learnt = {root.event_log_id for root in roots}
    named = {log.id: log.reference for log in logs}
    return {
        "event_logs": [
            {
                "event_log": log.reference,
                "parent": named.get(log.parent_id) if log.parent_id else None,
                "backbones": [grown.backbone(root) for root in roots if root.event_log_id == log.id],
            }
            for log in logs
            if log.id in learnt
        ]
    }


def document(row: models.Backbone) -> dict[str, Any]:
    """A backbone as scripts read it; `collapsed` where its objective made nearly one of all users.

    `features`: the modalities by which it knows its items, how many numbers each is; empty for a table.
    """
    return {
        **_line(row),
        "weights_sha256": row.weights_sha256,
        "vocab_sha256": row.vocab_sha256,
        "architecture": row.architecture,
        "config": row.config,
        "features": row.features,
        "metrics": row.metrics,
        "collapsed": collapsed(row.metrics.get("valid", {})),
        "run": row.run_id,
    }


class _Grown:
    """Backbones and versions as the branches that grew out of each."""

    def __init__(self, every: Sequence[models.Backbone], versions: Sequence[lineage.Version]) -> None:
        self._every = every
        self._references = {version.id: version.reference for version in versions}
        self._below: dict[int | None, list[lineage.Version]] = {}  # a version has one place in the tree
        for version in versions:
            first = next((read for read in version.reads if read in self._references), None)
            self._below.setdefault(first, []).append(version)

    def roots(self, reference: str | None) -> list[models.Backbone]:
        """Those that are asked for, but for what grew out of another of them. Raises UnknownName."""
        wanted = references.parse(reference) if reference else None
        chosen = {
            row.id: row
            for row in self._every
            if wanted is None or (row.name == wanted.name and wanted.version in (None, row.version))
        }
        if wanted and (not chosen or wanted.alias):
            raise UnknownName("backbone", str(wanted), {row.reference for row in self._every})
        return [row for row in chosen.values() if not chosen.keys() & set(self._above(row))]

    def backbone(self, row: models.Backbone) -> dict[str, Any]:
        """A backbone with its patches and the backbones that grew out of it."""
        here = [version for version in self._below.get(None, []) if version.backbone_id == row.id]
        return {
            "backbone": row.reference,
            "objective": row.objective,
            "patches": [self._patch(version) for version in here],
            "children": [self.backbone(other) for other in self._every if other.parent_id == row.id],
        }

    def _patch(self, version: lineage.Version) -> dict[str, Any]:
        return {
            **_leaf(version),
            "reads": [self._references[read] for read in version.reads if read in self._references],
            "read_by": [self._patch(reader) for reader in self._below.get(version.id, [])],
        }

    def _above(self, row: models.Backbone) -> list[int]:
        known, found = {other.id: other for other in self._every}, []
        while (parent := row.parent_id) is not None:
            found.append(parent)
            row = known[parent]
        return found


def _counted(row: models.Backbone, versions: Sequence[lineage.Version]) -> dict[str, int]:
    here = [version for version in versions if version.backbone_id == row.id]
    return {"patches": len(here), "champions": sum(version.champion for version in here)}


def _leaf(version: lineage.Version) -> dict[str, Any]:
    return {"patch": version.reference, "method": version.method, "champion": version.champion}


def _line(row: models.Backbone) -> dict[str, Any]:
    return {
        "name": row.name,
        "version": row.version,
        "event_log": row.event_log.reference,
        "objective": row.objective,
        "params": row.params,
        "frozen": row.frozen_at.isoformat(timespec="seconds"),
    }
