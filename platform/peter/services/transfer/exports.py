"""Exporting a version of a task: a directory that another registry with the same backbone can import."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from peter import __version__, faults
from peter.errors import InputError
from peter.registry import models, patches, twins
from peter.registry.objects import hashed
from peter.services.backbone import frozen
from peter.services.integrity import certificates
from peter.services.patch import patch_objects
from peter.services.patch.recipes import seeds
from peter.services.transfer import patch_directory
from peter.services.transfer.card import card
from peter.services.transfer.patch_directory import CARD, CONFIG, FORMAT, LABELS, SHEET, WEIGHTS, Sheet
from peter.services.transfer.standalone import standalone
from peter.services.workspace import Workspace


def export_patch(
    workspace: Workspace, reference: str, directory: Path, with_labels: bool, whole: bool = False
) -> dict[str, Any]:
    """Write a version of a task, its champion if none is named, into a new directory, wholly or not at all.

    Args:
        with_labels: also what the label file said of whom: personal data.
        whole: with all that it reads and all blocks of its backbone in it, so that it needs no other patch.

    Returns:
        `{patch, directory, files: {name: sha256}, sensitive, labels}`; `labels` tells whether they are in it.

    Raises:
        UnknownName: no such version.
        NameTaken: there is something at `directory`.
        InputError: the version cannot stand alone.
        CorruptObject: a stored object is damaged.
    """
    with workspace.registry.read() as session:
        row = patches.get(session, reference)
    _require_fit(row, whole)
    if with_labels and not row.label_set.users:
        raise InputError(f"{row.reference} was imported without its labels; leave out --with-labels.")
    with patch_directory.new(directory, private=with_labels) as begun:
        write = _whole if whole and row.reads else _as_it_is
        shown = write(workspace, row, begun / WEIGHTS)
        if with_labels:
            (begun / LABELS).write_bytes(workspace.objects.read(row.label_set.sha256))
        (begun / CONFIG).write_bytes(patch_directory.config_bytes(shown.config["adapter"]))
        (begun / CARD).write_text(card(row), encoding="utf-8")
        sheet = _sheet(row, shown, {path.name: hashed(path) for path in sorted(begun.iterdir())})
        (begun / SHEET).write_bytes(sheet.encode())
        faults.reach("task.export:written")
    return {
        "patch": row.reference,
        "directory": str(directory),
        "files": sheet.files,
        "sensitive": row.task.sensitive,
        "labels": with_labels,
    }


@dataclass(frozen=True)
class _Shown:
    """What a directory says of how its patch came to be."""

    method: str
    config: dict[str, Any]
    request_sha256: str


def _as_it_is(workspace: Workspace, row: models.Patch, weights: Path) -> _Shown:
    shutil.copyfile(workspace.objects.path(row.weights_sha256), weights)
    return _Shown(row.method, row.config, row.request_sha256)


def _whole(workspace: Workspace, row: models.Patch, weights: Path) -> _Shown:
    """Raises InputError for a patch that cannot stand alone, PeterError where it answers otherwise then."""
    base = frozen.load(workspace, row.backbone)
    alone = standalone(patch_objects.load(workspace.objects, row, base), row.reference)
    certificates.check(base, alone.patch, row.certificate, row.reference)
    adapter = patch_objects.adapter_config(alone, base)
    weights.write_bytes(patch_objects.encode(alone, adapter))
    request = alone.recipe.identity(_labels_sha256(row), base.sha256, seeds(row.metrics))
    return _Shown(alone.recipe.method, patch_objects.row_config(alone, adapter), request)


def _labels_sha256(row: models.Patch) -> str:
    """Of the labels that it learnt from, wherever they are."""
    return str(row.label_set.report.get("withheld", row.label_set.sha256))


def _require_fit(row: models.Patch, whole: bool) -> None:
    """Raises InputError for a version that would not answer elsewhere as it does here, or ought not to."""
    name = row.reference
    if row.reads and not whole:
        raise InputError(
            f"{name} reads other patches and does not stand alone; export it with --whole, "
            "which puts in what it reads."
        )
    if row.state != models.READY:
        raise InputError(f"{name} waits to be trained again; do so with `peter task train {row.task.name}`.")
    if row.certificate is None:
        raise InputError(f"{name} has no certificate; make its next version with `peter task train`.")


def _sheet(row: models.Patch, shown: _Shown, files: dict[str, str]) -> Sheet:
    assert row.certificate is not None
    return Sheet(
        format=FORMAT,
        program=f"peter {__version__}",
        patch=row.reference,
        kind=row.task.kind,
        owner=row.task.owner,
        description=row.task.description,
        sensitive=row.task.sensitive,
        method=shown.method,
        config=shown.config,
        fit=row.fit,
        request_sha256=shown.request_sha256,
        metrics=twins.without(row.metrics),
        certificate=row.certificate,
        backbone=row.backbone.reference,
        backbone_sha256=row.backbone.weights_sha256,
        vocab_sha256=row.backbone.vocab_sha256,
        labels_sha256=_labels_sha256(row),
        labels=row.label_set.report,
        files=files,
    )
