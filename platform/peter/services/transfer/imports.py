"""Importing an exported patch: held against its hashes, its backbone and its certificate, then registered."""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy.orm import Session

from peter import diagram, faults
from peter.data.labels import LabelTable
from peter.errors import InputError, PeterError
from peter.methods import method
from peter.registry import aliases, backbones, erasures, models, patches, tasks, twins
from peter.services.backbone import frozen
from peter.services.forgotten import Forgotten
from peter.services.integrity import certificates, verify
from peter.services.patch import patch_objects
from peter.services.patch.fitting import Fitted
from peter.services.patch.recipes import Recipe, seeds
from peter.services.promotion import gate
from peter.services.task.tasks import label_set_of, report
from peter.services.transfer import patch_directory
from peter.services.transfer.patch_directory import EXPORT_AGAIN, LABELS, WEIGHTS, Sheet
from peter.services.version.versions import ALREADY_MADE
from peter.services.workspace import Workspace


def import_patch(
    workspace: Workspace, directory: Path, name: str | None, owner: str | None, force: bool
) -> dict[str, Any]:
    """Register an exported patch as the next version of a task: champion of a new one, else challenger.

    The same patch again gives the version that it became before.

    Args:
        name: the task's; as it was where the patch was made if None.
        owner: of a new task; whoever imports if None.

    Returns:
        The task's document with a `report` on the version.

    Raises:
        InputError: the directory is not as an export wrote it, or does not fit here; nothing was changed.
        NotOwner: somebody else's task, and no `force`.
        PeterError: another task's champion no longer answers as it did.
    """
    forgotten = Forgotten.of(workspace)
    with workspace.objects.workspace() as own:
        sheet = patch_directory.read(directory, own)
        wanted = Wanted(directory, sheet, name or sheet.task, owner or workspace.actor, force)
        with workspace.registry.read() as session:
            row = wanted.backbone(session)
            task = wanted.task(session, workspace.actor)
            known = patches.answering(session, task, sheet.request_sha256) if task else None
            champion = aliases.version(session, task, aliases.CHAMPION) if task else None
        if known:
            return report(workspace, known, known.version == champion, ALREADY_MADE)
        base = frozen.load(workspace, row)
        with _told(directory):
            table = _table(sheet, own)
            table = table.without(forgotten.among(table.users))
            checked = _checked(sheet, own / WEIGHTS, base)
            _require_metrics(sheet.metrics)
        verify.require(workspace, verify.others(workspace, wanted.name), wanted.name)
        certificate = certificates.issue(base, checked.patch)
        with forgotten.keeping(workspace):
            return _registered(
                workspace, wanted, table, own / WEIGHTS, checked.params, certificate, forgotten.fence
            )


@dataclass(frozen=True)
class Wanted:
    """What is to be imported, and as what."""

    directory: Path
    sheet: Sheet
    name: str
    owner: str
    force: bool

    def backbone(self, session: Session) -> models.Backbone:
        """The backbone here that the patch was made for. Raises InputError."""
        sheet = self.sheet
        if row := backbones.holding(session, sheet.backbone_sha256, sheet.vocab_sha256):
            return row
        raise InputError(
            f"{self.directory} was made for {sheet.backbone}, and no backbone here has its weights "
            f"{sheet.backbone_sha256} and its vocabulary; pre-train it from the same events with the same "
            "settings (`peter backbone pretrain`), or import where it is (`peter backbone show`)."
        )

    def task(self, session: Session, actor: str) -> models.Task | None:
        """The task that is there already, None for a new one. Raises InputError, NotOwner."""
        task = tasks.find(session, self.name)
        if task is None:
            tasks.require_free(session, self.name)
            return None
        tasks.authorise(task, actor, self.force)
        here = (task.kind, _named(_outputs(session, task)))
        there = (self.sheet.kind, _named(self.sheet.config["schema"]))
        if here != there:
            raise InputError(
                f"Task {task.name!r} answers otherwise ({_said(*here)}) than {self.directory} "
                f"({_said(*there)}); import it as a task of its own with --name."
            )
        return task


def _registered(
    workspace: Workspace,
    wanted: Wanted,
    table: LabelTable,
    weights: Path,
    params: int,
    certificate: dict[str, Any],
    fence: int,
) -> dict[str, Any]:
    """Store the objects, and show the version with its alias in one transaction."""
    sheet = wanted.sheet
    labels = workspace.objects.put_bytes(table.encode())
    stored = workspace.objects.put_file(weights)
    faults.reach("task.import:stored")

    def register(session: Session) -> models.Patch:
        erasures.require(session, fence)
        task = wanted.task(session, workspace.actor) or tasks.add(session, _task(wanted), workspace.actor)
        task = tasks.hold(session, task)
        first = aliases.version(session, task, aliases.CHAMPION) is None
        why = f"imported from {sheet.patch}" + ("" if first else "; look at it and promote it by hand")
        verdict = gate.Verdict(first, why, sheet.metrics["primary"], {})
        label_set = label_set_of(table, task, labels, {**sheet.labels, **table.report})
        patch = patches.add(
            session,
            models.Patch(
                task=task,
                backbone=wanted.backbone(session),
                label_set=tasks.add_labels(session, label_set, workspace.actor),
                method=sheet.method,
                config=sheet.config,
                fit=sheet.fit,
                request_sha256=sheet.request_sha256,
                weights_sha256=stored,
                params=params,
                metrics={**_own_metrics(sheet), "gate": verdict.to_json()},
                certificate=certificate,
            ),
            workspace.actor,
        )
        aliases.settle(session, patch, first, workspace.actor, why)
        faults.reach("task.import:registered")
        return patch

    patch = workspace.registry.write(register)
    faults.reach("task.import:committed")
    said = patch.metrics["gate"]
    return report(workspace, patch, said["promote"], said["reason"])


def _task(wanted: Wanted) -> models.Task:
    sheet = wanted.sheet
    return models.Task(
        name=wanted.name,
        kind=sheet.kind,
        owner=wanted.owner,
        description=sheet.description,
        sensitive=sheet.sensitive,
        outputs=sheet.config["schema"],
    )


@contextmanager
def _told(directory: Path) -> Iterator[None]:
    """Whatever a file that was made up makes its readers do is the file's fault, in one sentence."""
    try:
        yield
    except PeterError as error:
        raise InputError(f"{directory} cannot be imported: {error}") from error
    except Exception as error:
        raise InputError(
            f"{directory} is not as `peter task export` writes it ({type(error).__name__}); {EXPORT_AGAIN}."
        ) from error


def _table(sheet: Sheet, own: Path) -> LabelTable:
    """The labels that came along, or what stands for them. Raises InputError."""
    if LABELS not in sheet.files:
        return LabelTable.withheld(sheet.task, {**sheet.labels, "withheld": sheet.labels_sha256})
    table = LabelTable.decode((own / LABELS).read_bytes())
    if table.sha256 != sheet.labels_sha256:
        raise InputError(f"its labels are not those that it learnt from; {EXPORT_AGAIN}.")
    kind = Recipe.stored(sheet.kind, sheet.method, sheet.config, sheet.fit).kind
    kind.encode(table.labels, sheet.config["schema"])
    return table


def _checked(sheet: Sheet, weights: Path, base: frozen.Frozen) -> Fitted:
    """The patch, once it has answered here as it did where it was made. Raises PeterError."""
    recipe = Recipe.stored(sheet.kind, sheet.method, sheet.config, sheet.fit)
    warm = sheet.config.get("warm_start", {}).get("sha256")
    asked = recipe.identity(sheet.labels_sha256, base.sha256, seeds(sheet.metrics), warm=warm)
    if asked != sheet.request_sha256:
        raise InputError(f"its settings are not those that it was made with; {EXPORT_AGAIN}.")
    if not method(sheet.method).deployable:
        raise InputError(f"method {sheet.method} cannot answer for a task; export another version.")
    fitted = patch_objects.decode(weights, recipe, sheet.config, base, sheet.patch)
    if not certificates.holds(base, fitted.patch, sheet.certificate):
        raise InputError(f"it answers otherwise than its certificate says; {EXPORT_AGAIN}.")
    probe = certificates.probe(base)
    told = recipe.kind.profile(
        fitted.answer(probe), fitted.setting.schema, fitted.calibration, [()] * certificates.USERS
    )
    if len(told.values) != certificates.USERS:
        raise InputError(f"its kind does not answer for each user; {EXPORT_AGAIN}.")
    return fitted


def _require_metrics(metrics: Mapping[str, Any]) -> None:
    """Raise, whatever it is, for a report that could not be shown."""
    told = [metrics[part] for part in ("test", "valid", "uncalibrated")]
    for scores in (*told, *metrics["baselines"].values(), *metrics["differences"].values()):
        for interval in scores.values():
            if not all(math.isfinite(interval[end]) for end in ("value", "low", "high")):
                raise ValueError(interval)
    whole = (metrics["test"][metrics["primary"]], metrics["users"]["test"], metrics["gate"]["reason"])
    if None in whole or not isinstance(metrics["maximise"], bool) or not isinstance(metrics["skipped"], list):
        raise ValueError(metrics["primary"])
    for kept in metrics["diagrams"]:
        diagram.from_json(kept)
    seeds = metrics.get("seeds", {"first": 0, "test": {}, "differences": {}})
    for spread in (spread for scores in seeds["test"].values() for spread in scores.values()):
        if not math.isfinite(spread["mean"] + spread["sd"] + seeds["first"]):
            raise ValueError(spread)


def _own_metrics(sheet: Sheet) -> dict[str, Any]:
    """The report without the versions of another registry, which have other names here, and its origin."""
    metrics = _without_versions(twins.without(sheet.metrics), "baselines", "differences")
    if "seeds" in metrics:
        metrics["seeds"] = _without_versions(metrics["seeds"], "test", "differences")
    origin = {
        "patch": sheet.patch,
        "owner": sheet.owner,
        "backbone": sheet.backbone,
        "program": sheet.program,
    }
    return {**metrics, "imported": {**origin, "gate": sheet.metrics["gate"]}}


def _without_versions(told: Mapping[str, Any], *groups: str) -> dict[str, Any]:
    return {
        key: {name: inner for name, inner in value.items() if "@" not in name} if key in groups else value
        for key, value in told.items()
    }


def _outputs(session: Session, task: models.Task) -> Mapping[str, Any]:
    """What the task's answers are called now: its champion's, or those that it was begun with."""
    version = aliases.version(session, task, aliases.CHAMPION)
    if version is None:
        return task.outputs
    schema: Mapping[str, Any] = patches.get(session, f"{task.name}@{version}").config["schema"]
    return schema


def _named(schema: Mapping[str, Any]) -> dict[str, list[Any]]:
    """The lists of a schema name its outputs; its numbers only tell of the labels."""
    return {key: value for key, value in schema.items() if isinstance(value, list)}


def _said(kind: str, named: Mapping[str, list[Any]]) -> str:
    names = [str(name) for value in named.values() for name in value]
    more = ", .." if len(names) > 5 else ""
    return f"{kind}: {', '.join(names[:5])}{more}" if names else kind
