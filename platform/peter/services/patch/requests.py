"""A request for a version: all that decides what it will be, checked and read before anything is written."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property, partial

import numpy as np

from peter.data.event_log import EventLog
from peter.data.histories import Histories
from peter.data.labels import LabelTable
from peter.data.splits import TRAIN, assign
from peter.errors import InputError
from peter.methods import Older, OtherTask, Setting, method, read_by
from peter.registry import models
from peter.services.backbone import frozen
from peter.services.forgotten import Forgotten
from peter.services.logs import open_log
from peter.services.patch.neighbours import neighbours
from peter.services.patch.older import WarmStart, readable
from peter.services.patch.recipes import Recipe
from peter.services.task.kinds import check_answers
from peter.services.task.labelled import Labelled, prepare
from peter.services.workspace import Workspace
from peter.task import Schema, TaskKind


@dataclass(frozen=True)
class Request:
    """Labels, recipe and backbone of one version of one task."""

    name: str
    table: LabelTable
    schema: Schema
    base: frozen.Frozen
    log: EventLog
    recipe: Recipe
    users: Labelled
    others: Callable[[], Sequence[OtherTask]]  # the registry's other tasks on the backbone
    older: Callable[[], Sequence[Older]]  # the registry's patches on it that this one may read
    forgotten: Forgotten  # before anything of it was read
    seeds: int = 1  # fits to report, under as many seeds from the recipe's on; the first makes the version
    twin: bool = True  # whether to fit the from-scratch twin, for the report and for the gate
    warm: WarmStart | None = None  # what its trunk goes on from; that of none of its rivals does

    @classmethod
    def read(
        cls,
        workspace: Workspace,
        name: str,
        table: LabelTable,
        row: models.Backbone,
        recipe: Recipe,
        usual: Schema | None = None,
        seeds: int = 1,
        twin: bool = True,
        reads: Sequence[Older] | None = None,
        draft: bool = False,
    ) -> "Request":
        """Load the backbone and join the labels with its events.

        Args:
            usual: what the task's outputs mean so far; kept where it holds for the labels, so that versions
                can be compared.
            reads: the patches that it reads; None: what its method chooses of all that there are now.
            draft: the root of a lineage is to be derived from the backbone, once nothing of this is refused.

        Raises:
            InputError: of the labels, or of options that do not fit the backbone.
            Busy: a user is being forgotten.
        """
        forgotten = Forgotten.of(workspace)
        table = table.without(forgotten.among(table.users))
        check_answers(table, recipe.kind)
        schema = _schema(recipe.kind, table, usual)
        base, log = frozen.load(workspace, row), open_log(workspace, row.event_log)
        base = base.cut(recipe.options.pruned) if draft else base
        users = prepare(base, log, table, recipe.kind, schema)
        others = cache(partial(neighbours, workspace, base, log, name))
        older = cache(partial(readable, workspace, base, name)) if reads is None else partial(tuple, reads)
        request = cls(name, table, schema, base, log, recipe, users, others, older, forgotten, seeds, twin)
        _ = request.reads  # refuses options that do not fit
        return request

    @classmethod
    def after(
        cls,
        workspace: Workspace,
        patch: models.Patch,
        table: LabelTable | None = None,
        recipe: Recipe | None = None,
        row: models.Backbone | None = None,
        seeds: int = 1,
        twin: bool = True,
        draft: bool = False,
    ) -> "Request":
        """A registered version's own request, with what is given in place of its own. Raises InputError."""
        table = table or LabelTable.decode(workspace.objects.read(patch.label_set.sha256))
        if not table.users:
            raise InputError(
                f"{patch.reference} was imported without its labels; give some with "
                f"`peter task train {patch.task.name} --labels FILE`."
            )
        recipe = recipe or Recipe.of(patch)
        usual = patch.config["schema"] if recipe.kind == Recipe.of(patch).kind else None
        row = row or patch.backbone
        return cls.read(workspace, patch.task.name, table, row, recipe, usual, seeds, twin, draft=draft)

    @property
    def kind(self) -> TaskKind:
        """What is asked of users."""
        return self.recipe.kind

    @property
    def setting(self) -> Setting:
        """What the patch is made for."""
        setting = self.base.setting(self.kind, self.schema, self.recipe.fit.seed)
        return replace(setting, population=self.population, others=self.others, older=self.older)

    @cached_property
    def reads(self) -> tuple[Older, ...]:
        """The patches that this one will read. Raises InputError for options that do not fit the backbone."""
        return read_by(method(self.recipe.method).build(self.setting, self.recipe.options))

    @property
    def each_seed(self) -> range:
        """The seeds of its fits."""
        first = self.recipe.fit.seed
        return range(first, first + self.seeds)

    def population(self) -> Histories:
        """The events of the log's training users, labelled or not."""
        rows = np.flatnonzero(assign(self.log.user_ids, self.base.salt) == TRAIN)
        return self.log.histories(rows)

    @cached_property
    def identity(self) -> str:
        """The same request is the same version."""
        reads = [older.sha256 for older in self.reads]
        warm = self.warm.patch.sha256 if self.warm else None
        return self.recipe.identity(self.table.sha256, self.base.sha256, self.seeds, reads, warm)


def _schema(kind: TaskKind, table: LabelTable, usual: Schema | None) -> Schema:
    fresh = kind.schema(table.labels)  # refuses labels from which nothing can be learnt
    if usual is None:
        return fresh
    try:
        kind.encode(table.labels, usual)
    except InputError:
        return fresh
    return usual
