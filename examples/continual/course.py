"""One way of learning tasks one after another, and what each task is worth after every one of them."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

import numpy as np
import torch
from experiment import Cell, Contender, Record, commit, key, opened, pretrained, requested
from safetensors.torch import load_file
from torch import Tensor

from peter.config import PretrainConfig, from_dict, to_dict
from peter.data.splits import TEST, assign
from peter.methods import Older, method
from peter.nn.copies import OwnTensors
from peter.progress import Silent
from peter.registry import backbones, models
from peter.services.backbone import frozen
from peter.services.backbone.pretrain import root_of
from peter.services.logs import open_log
from peter.services.patch.fitting import Fitted, calibrated
from peter.services.patch.packing import packed, unindexed
from peter.services.patch.requests import Request
from peter.services.task.labelled import Labelled
from peter.services.workspace import Workspace
from peter.training.fit import fit
from peter.training.pretrain_model import TableModel
from peter.training.pretrain_ranking import ranking_of

RANKING = "mrr@5"  # of the next item, what the backbone was pre-trained for


@dataclass(frozen=True)
class Way:
    """How a task is learnt after others."""

    label: str
    method: str
    settings: tuple[str, ...] = ()
    goes_on: bool = False  # every task trains the trunk that the task before left: nothing is protected
    together: bool = False  # all tasks at once


@dataclass(frozen=True)
class Course:
    """A way of learning some tasks of a data set, in that order."""

    data: str
    order: tuple[str, ...]
    way: Way
    backbone: tuple[str, ...]
    fit: tuple[str, ...]
    salt: str = "s0"
    pruned: float = 0.7  # of the backbone, where the way needs one

    @property
    def key(self) -> str:
        """Names the record."""
        return key(self, "way")

    def cell(self, task: str) -> Cell:
        """A task alone, as the other examples have it."""
        others = tuple(other for other in self.order if other != task) if self.way.together else ()
        contender = Contender(self.way.label, self.way.method, self.way.settings)
        return Cell(
            self.data, task, contender, self.salt, backbone=self.backbone, fit=self.fit, others=others
        )


@dataclass
class Learnt:
    """A task after it was learnt."""

    task: str
    fitted: Fitted
    users: Labelled
    outputs: Tensor  # [B, K] of its test users, just then

    def cost(self) -> float:
        """Its log-loss, or whatever its primary metric is, on test users now."""
        kind, test = self.fitted.setting.kind, self.users.test
        found = kind.metrics(
            self.fitted.answer(test.histories), test.targets, torch.ones(1, len(test.targets))
        )
        return float(found[kind.primary])

    def moved(self) -> float:
        """How far an answer of a test user is from what it was, at most."""
        return float((self.fitted.outputs(self.users.test.histories) - self.outputs).abs().max())


def learn(root: Path, course: Course) -> Record:
    """Learn the tasks one after another.

    Returns:
        `costs`: [[R[i][j]] of task i after task j]; `before`: the same of each task just before its patch was
        pruned; `moved`: how far an answer of any older task moved at most; `ranking`: of the next item before
        anything was learnt and after each task; `params`, `seconds`: of each task.
    """
    workspace = opened(root, course.data)
    row = _backbone(workspace, root, course)
    line: list[Learnt] = []
    costs, before, seconds, moved = [], [], [], 0.0
    ranking = [_ranking(workspace, row, None)]
    for task in course.order:
        begin = time.process_time()
        learnt, dense = _learnt(workspace, root, row, course, task, line)
        seconds.append(time.process_time() - begin)
        line.append(learnt)
        before.append(dense)
        costs.append([each.cost() for each in line])
        moved = max([moved, *(each.moved() for each in line)])
        trunk = learnt.fitted.patch.trunk if course.way.goes_on else None
        ranking.append(_ranking(workspace, row, trunk))
    workspace.registry.dispose()
    return {
        "key": course.key,
        "made": [date.today().isoformat(), commit()],
        "costs": costs,
        "before": before,
        "moved": moved,
        "ranking": ranking,
        "params": [each.fitted.params for each in line],
        "seconds": seconds,
        "users": [len(part.targets) for part in (learnt.users.train, learnt.users.valid, learnt.users.test)],
    }


def _backbone(workspace: Workspace, root: Path, course: Course) -> models.Backbone:
    name = pretrained(root, course.cell(course.order[0]))
    with workspace.registry.read() as session:
        row = backbones.get(session, name)
    if method(course.way.method).rooted:
        return root_of(workspace, row, course.pruned, Silent())
    return row


def _learnt(
    workspace: Workspace,
    root: Path,
    row: models.Backbone,
    course: Course,
    task: str,
    line: Sequence[Learnt],
) -> tuple[Learnt, float | None]:
    """The task after those of the line, and its metric just before its patch was pruned, if it was."""
    request = requested(workspace, root, row.reference, course.cell(task))
    older = [_older(number, each) for number, each in enumerate(line)]
    setting = replace(request.setting, older=lambda: older)
    recipe, users, dense = request.recipe, request.users, None
    patch = method(recipe.method).build(setting, recipe.options)
    if course.way.goes_on and line:
        patch.trunk = line[-1].fitted.patch.trunk
    for phase in method(recipe.method).phases(patch, setting, recipe.options):
        if phase.name == "prune":
            dense = _seen(request, calibrated(recipe, setting, patch, users.valid)).cost()
        for _ in fit(patch, [phase], users.train, users.valid, setting, recipe.fit, Silent()):
            pass
    return _seen(request, calibrated(recipe, setting, patch, users.valid)), dense


def _seen(request: Request, fitted: Fitted) -> Learnt:
    return Learnt(request.name, fitted, request.users, fitted.outputs(request.users.test.histories))


def _older(number: int, learnt: Learnt) -> Older:
    """As the registry would give it to those who come later."""
    recipe, items = learnt.fitted.recipe, learnt.fitted.setting.items
    stored = unindexed(packed(learnt.fitted.patch.state_dict(), items))
    return Older(
        number,
        f"{learnt.task}@1",
        "champion",
        recipe.method,
        to_dict(recipe.options),
        str(number),
        lambda: stored,
    )


def _ranking(workspace: Workspace, row: models.Backbone, trunk: OwnTensors | None) -> float:
    """mrr@5 of the next item of test users, where a task's trunk stands in the backbone's place, if given."""
    base, log = frozen.load(workspace, row), open_log(workspace, row.event_log)
    users = log.histories(np.flatnonzero(assign(log.user_ids, base.salt) == TEST))
    model = TableModel(base.body, base.items)
    model.bias.data = load_file(workspace.objects.path(row.weights_sha256))["bias"]
    if trunk:
        base.body.load_state_dict(trunk.tensors())
    return ranking_of(model, users, from_dict(PretrainConfig, row.config))[RANKING]
