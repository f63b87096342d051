"""Discovery: methods, task kinds and the like are found, never listed.

An entry point of a group names a *package*; each of its public modules is one plugin, called like the
module, and offers itself as the module attribute `plugin`. Built-ins come in through the same door.
"""

import importlib
import pkgutil
from collections.abc import Mapping
from functools import cache
from importlib.metadata import entry_points
from types import MappingProxyType
from typing import Any

from peter.errors import PeterError, UnknownName


@cache
def modules(group: str) -> Mapping[str, str]:
    """Plugin name -> dotted module of every plugin of `group`; imports the packages, not the plugins.

    Raises:
        PeterError: two packages offer a plugin of one name.
    """
    found: dict[str, str] = {}
    for point in sorted(entry_points(group=group), key=lambda point: point.value):
        package = importlib.import_module(point.value)
        for module in pkgutil.iter_modules(package.__path__):
            if module.name.startswith("_"):
                continue
            dotted = f"{point.value}.{module.name}"
            if found.setdefault(module.name, dotted) != dotted:
                raise PeterError(
                    f"Both {found[module.name]} and {dotted} offer {module.name!r} in {group}; "
                    "uninstall one of the packages."
                )
    return MappingProxyType(found)


def load(group: str, name: str, noun: str) -> Any:
    """The plugin called `name`; `noun` is what an error calls it.

    Raises:
        UnknownName: nothing of that name is installed.
    """
    known = modules(group)
    if name not in known:
        raise UnknownName(noun, name, known)
    return importlib.import_module(known[name]).plugin
