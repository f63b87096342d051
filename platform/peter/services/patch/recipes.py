"""A recipe: everything that decides what a patch becomes, given its labels and its backbone."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from peter.config import FitConfig, as_option, from_dict, from_options, to_dict, types_of
from peter.errors import InputError
from peter.methods import method
from peter.nn.gates import RULES
from peter.registry.columns import canonical
from peter.registry.models import Patch
from peter.schedule import read
from peter.task import TaskKind
from peter.task import kind as kind_of

DEFAULT_METHOD = "peter"
TWIN = "scratch"  # the method of a recipe's from-scratch twin


@dataclass(frozen=True)
class Recipe:
    """A method with its own options, how it is fitted, and the kind with what was chosen for it."""

    method: str
    options: Any
    fit: FitConfig
    kind: TaskKind

    def __post_init__(self) -> None:
        own = {option.name for option in fields(self.options)}
        if "dropout" not in own and any(change.setting == "dropout" for change in read(self.fit.schedule)):
            raise InputError(
                f"schedule={self.fit.schedule} changes dropout, which method {self.method} does not have; "
                "leave it out."
            )

    @classmethod
    def make(
        cls, kind: TaskKind, name: str = DEFAULT_METHOD, settings: Iterable[str] = (), seed: int = 0
    ) -> "Recipe":
        """From `--method`, `--set key=value ..` and `--seed`. Raises UnknownName, InputError."""
        options, fit, kind = from_options(settings, method(name).options(), FitConfig(seed=seed), kind)
        return cls(name, options, fit, kind)

    @classmethod
    def after(cls, patch: Patch, name: str | None, settings: Iterable[str], seed: int | None) -> "Recipe":
        """A registered patch's recipe with changes; another method starts from its own defaults."""
        seed = patch.fit["seed"] if seed is None else seed
        before = cls.of(patch)
        if name and name != patch.method:
            return cls.make(before.kind, name, settings, seed)
        options, fit, kind = from_options(
            settings, before.options, replace(before.fit, seed=seed), before.kind
        )
        return cls(before.method, options, fit, kind)

    @classmethod
    def of(cls, patch: Patch) -> "Recipe":
        """The recipe of a registered patch. Raises SchemaMismatch where another peter wrote it."""
        return cls.stored(patch.task.kind, patch.method, patch.config, patch.fit)

    @classmethod
    def stored(cls, kind_name: str, name: str, config: Mapping[str, Any], fit: Mapping[str, Any]) -> "Recipe":
        """From what a patch's row holds, or its export. Raises UnknownName, SchemaMismatch."""
        options = from_dict(method(name).options, config["options"])
        kind = from_dict(type(kind_of(kind_name)), config["kind"])
        return cls(name, options, from_dict(FitConfig, fit), kind)

    def to_json(self) -> dict[str, Any]:
        """As the registry keeps it."""
        return {
            "method": self.method,
            "options": to_dict(self.options),
            "fit": to_dict(self.fit),
            "kind": to_dict(self.kind),
        }

    @property
    def settings(self) -> dict[str, Any]:
        """The type of each setting, by its `--set` key."""
        return types_of(self.options, self.fit, self.kind)

    def changed(self, values: Mapping[str, Any]) -> "Recipe":
        """With each value where `--set` would put it. Raises UnknownName, InputError as `--set` does."""
        settings = [as_option(key, value) for key, value in values.items()]
        options, fit, kind = from_options(settings, self.options, self.fit, self.kind)
        return replace(self, options=options, fit=fit, kind=kind)

    def beside(self, name: str) -> "Recipe":
        """Another method with its own defaults under the same seed and threads: a baseline."""
        fit = FitConfig(seed=self.fit.seed, threads=self.fit.threads)
        return Recipe(name, method(name).options(), fit, self.kind)

    def twin(self) -> "Recipe":
        """The same from random values, nothing pre-trained: its budget, and its options where both have them.

        What it does better is negative transfer (ANT, Peng et al., 2023).
        """
        return self.by(TWIN)

    def by(self, name: str) -> "Recipe":
        """The same by another method, with its own defaults only where the two have no option in common."""
        options = method(name).options()
        shared = {option.name for option in fields(options)} & {
            option.name for option in fields(self.options)
        }
        options = replace(options, **{name: getattr(self.options, name) for name in shared})
        return replace(self, method=name, options=options)

    def wide_alone(self) -> "Recipe | None":
        """The wide term without the deep part; None where the options know no such parts, or it is this."""
        parts = {"deep", "wide"} <= {option.name for option in fields(self.options)}
        if not parts or not self.options.deep:
            return None
        return replace(self, options=replace(self.options, deep=False, wide=True))

    def unread(self) -> "Recipe":
        """The same without reading other patches: its options have `reads`, as every method's that reads."""
        return replace(self, options=replace(self.options, reads=False))

    @property
    def gated(self) -> bool:
        """Whether its patch has gates that are learnt: its options have `policy`, as every such method's."""
        return getattr(self.options, "policy", None) in RULES and self.options.deep

    def blind(self, share: float) -> "Recipe":
        """The same with this share of the gates open, at random."""
        return replace(self, options=replace(self.options, policy="random", share=share))

    def seeded(self, seed: int) -> "Recipe":
        """The same under another seed."""
        return replace(self, fit=replace(self.fit, seed=seed))

    def identity(
        self,
        labels_sha256: str,
        backbone_sha256: str,
        seeds: int = 1,
        reads: Sequence[str] = (),
        warm: str | None = None,
    ) -> str:
        """sha256 of the whole request: the same request is the same version."""
        request = {**self.to_json(), "labels": labels_sha256, "backbone": backbone_sha256}
        if seeds > 1:
            request["seeds"] = seeds
        if reads:
            request["reads"] = list(reads)
        if warm:
            request["warm_start"] = warm
        return hashlib.sha256(canonical(request).encode()).hexdigest()


def seeds(metrics: Mapping[str, Any]) -> int:
    """How many fits a version's report tells of."""
    return int(metrics.get("seeds", {"count": 1})["count"])
