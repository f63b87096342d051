"""A recipe: everything that decides what a patch becomes, given its labels and its backbone."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from peter.config import FitConfig, from_dict, from_options, to_dict
from peter.methods import method
from peter.registry.columns import canonical
from peter.registry.models import Patch

DEFAULT_METHOD = "peter"


@dataclass(frozen=True)
class Recipe:
    """A method with its own options and how it is fitted."""

    method: str
    options: Any
    fit: FitConfig

    @classmethod
    def make(cls, name: str = DEFAULT_METHOD, settings: Iterable[str] = (), seed: int = 0) -> "Recipe":
        """From `--method`, `--set key=value ..` and `--seed`. Raises UnknownName, InputError."""
        options, fit = from_options(settings, method(name).options(), FitConfig(seed=seed))
        return cls(name, options, fit)

    @classmethod
    def after(cls, patch: Patch, name: str | None, settings: Iterable[str], seed: int | None) -> "Recipe":
        """A registered patch's recipe with changes; another method starts from its own defaults."""
        seed = patch.fit["seed"] if seed is None else seed
        if name and name != patch.method:
            return cls.make(name, settings, seed)
        before = cls.from_json({"method": patch.method, "options": patch.config["options"], "fit": patch.fit})
        options, fit = from_options(settings, before.options, replace(before.fit, seed=seed))
        return cls(before.method, options, fit)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Recipe":
        """The inverse of `to_json`."""
        options = from_dict(method(values["method"]).options, values["options"])
        return cls(values["method"], options, from_dict(FitConfig, values["fit"]))

    def to_json(self) -> dict[str, Any]:
        """As the registry keeps it."""
        return {"method": self.method, "options": to_dict(self.options), "fit": to_dict(self.fit)}

    def beside(self, name: str) -> "Recipe":
        """Another method with its own defaults under the same seed and threads: a baseline."""
        return Recipe(
            name, method(name).options(), replace(FitConfig(), seed=self.fit.seed, threads=self.fit.threads)
        )

    def identity(self, labels_sha256: str, backbone_sha256: str) -> str:
        """sha256 of the whole request: the same request is the same version."""
        request = {**self.to_json(), "labels": labels_sha256, "backbone": backbone_sha256}
        return hashlib.sha256(canonical(request).encode()).hexdigest()
