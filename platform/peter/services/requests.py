"""A request for a version: all that decides what it will be, checked and read before anything is written."""

from dataclasses import dataclass
from functools import cached_property

from peter.data.labels import LabelTable
from peter.methods import Setting, method
from peter.registry import models
from peter.services import frozen
from peter.services.labelled import Labelled, prepare, setting
from peter.services.logs import open_log
from peter.services.recipes import Recipe
from peter.services.workspace import Workspace
from peter.task import Schema, TaskKind
from peter.task import kind as kind_of


@dataclass(frozen=True)
class Request:
    """Labels, recipe and backbone of one version of one task."""

    name: str
    table: LabelTable
    kind: TaskKind
    schema: Schema
    base: frozen.Frozen
    recipe: Recipe
    users: Labelled

    @classmethod
    def read(
        cls,
        workspace: Workspace,
        name: str,
        table: LabelTable,
        kind: TaskKind,
        row: models.Backbone,
        recipe: Recipe,
    ) -> "Request":
        """Load the backbone and join the labels with its events. Raises InputError."""
        schema = kind.schema(table.values)
        base = frozen.load(workspace, row)
        users = prepare(base, open_log(workspace, row.event_log), table, kind, schema)
        request = cls(name, table, kind, schema, base, recipe, users)
        method(recipe.method).build(request.setting, recipe.options)  # refuses options that do not fit
        return request

    @classmethod
    def after(
        cls,
        workspace: Workspace,
        patch: models.Patch,
        table: LabelTable | None = None,
        recipe: Recipe | None = None,
        row: models.Backbone | None = None,
    ) -> "Request":
        """A registered version's own request, with what is given in place of its own. Raises InputError."""
        table = table or LabelTable.decode(workspace.objects.read(patch.label_set.sha256))
        recipe = recipe or Recipe.after(patch, None, (), None)
        kind = kind_of(patch.task.kind)
        return cls.read(workspace, patch.task.name, table, kind, row or patch.backbone, recipe)

    @property
    def setting(self) -> Setting:
        """What the patch is made for."""
        return setting(self.base, self.kind, self.schema, self.recipe.fit.seed)

    @cached_property
    def identity(self) -> str:
        """The same request is the same version."""
        return self.recipe.identity(self.table.sha256, self.base.sha256)
