"""Exporting a version of a task: a directory that another registry with the same backbone can import."""

import shutil
from pathlib import Path
from typing import Any

from peter import __version__, faults
from peter.errors import InputError
from peter.registry import models, patches
from peter.registry.objects import hashed
from peter.services import patch_directory
from peter.services.card import card
from peter.services.patch_directory import CARD, CONFIG, FORMAT, LABELS, SHEET, WEIGHTS, Sheet
from peter.services.workspace import Workspace


def export_patch(workspace: Workspace, reference: str, directory: Path, with_labels: bool) -> dict[str, Any]:
    """Write a version of a task, its champion if none is named, into a new directory, wholly or not at all.

    Args:
        with_labels: also what the label file said of whom: personal data.

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
    _require_whole(row)
    if with_labels and not row.label_set.users:
        raise InputError(f"{row.reference} was imported without its labels; leave out --with-labels.")
    with patch_directory.new(directory, private=with_labels) as begun:
        shutil.copyfile(workspace.objects.path(row.weights_sha256), begun / WEIGHTS)
        if with_labels:
            (begun / LABELS).write_bytes(workspace.objects.read(row.label_set.sha256))
        (begun / CONFIG).write_bytes(patch_directory.config_bytes(row.config["adapter"]))
        (begun / CARD).write_text(card(row), encoding="utf-8")
        sheet = _sheet(row, {path.name: hashed(path) for path in sorted(begun.iterdir())})
        (begun / SHEET).write_bytes(sheet.encode())
        faults.reach("task.export:written")
    return {
        "patch": row.reference,
        "directory": str(directory),
        "files": sheet.files,
        "sensitive": row.task.sensitive,
        "labels": with_labels,
    }


def _require_whole(row: models.Patch) -> None:
    """Raises InputError for a version that would not answer elsewhere as it does here, or ought not to."""
    name = row.reference
    if row.reads:
        raise InputError(
            f"{name} reads other patches and does not stand alone; export what it reads instead."
        )
    if row.state != "ready":
        raise InputError(f"{name} waits to be trained again; do so with `peter task train {row.task.name}`.")
    if row.certificate is None:
        raise InputError(f"{name} has no certificate; make its next version with `peter task train`.")


def _sheet(row: models.Patch, files: dict[str, str]) -> Sheet:
    assert row.certificate is not None
    labels = row.label_set.report
    return Sheet(
        format=FORMAT,
        program=f"peter {__version__}",
        patch=row.reference,
        kind=row.task.kind,
        owner=row.task.owner,
        description=row.task.description,
        sensitive=row.task.sensitive,
        method=row.method,
        config=row.config,
        fit=row.fit,
        request_sha256=row.request_sha256,
        metrics=row.metrics,
        certificate=row.certificate,
        backbone=row.backbone.reference,
        backbone_sha256=row.backbone.weights_sha256,
        vocab_sha256=row.backbone.vocab_sha256,
        labels_sha256=labels.get("withheld", row.label_set.sha256),
        labels=labels,
        files=files,
    )
