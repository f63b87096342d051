"""The floors of design: an import may only go down, and what is heavy is loaded only by who needs it."""

import ast
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FOLDERS = {
    "platform/peter": "peter",
    "cli": "peter.cli",
    "tasks": "peter.tasks",
    "migrations": "peter.migrations",
}

FLOORS = {
    "peter.cli": 7,
    "peter.services": 5,
    "peter.testing": 5,
    "peter.distributed": 4,
    "peter.registry": 3,
    "peter.training": 3,
    "peter.methods": 2,
    "peter.data": 2,
    "peter.nn": 1,
    "peter.task": 1,
    "peter.config": 0,
    "peter.diagram": 0,
    "peter.errors": 0,
    "peter.faults": 0,
    "peter.interval": 0,
    "peter.plugins": 0,
    "peter.progress": 0,
    "peter.schedule": 0,
    "peter.space": 0,
    "peter": 0,
}
BESIDE = {("peter.methods", "peter.data")}  # neighbours on one floor that may be used

ROOMS = {  # the floors within peter.services: its rooms, and what is in none
    "demo": 10,
    "lifecycle": 9,
    "transfer": 9,
    "version": 8,
    "promotion": 7,
    "integrity": 6,
    "profile": 6,
    "patch": 5,
    "event_log": 4,
    "task": 4,
    "backbone": 3,
    "crew": 1,
    "forgotten": 1,
    "logs": 1,
    "running": 1,
    "runs": 1,
    "workspace": 0,
}

LEAVES = {  # found by discovery, imported by nobody; longest name first
    "peter.migrations.versions": (),
    "peter.migrations": ("peter.registry.models",),
    "peter.tasks": (
        "peter.nn",
        "peter.data",
        "peter.task",
        "peter.diagram",
        "peter.training.metrics",
        "peter.training.numeric_metrics",
        "peter.training.tag_metrics",
        "peter.training.bootstrap",
        "peter.training.calibration",
        "peter.training.convex",
        "peter.training.ranking",
        "peter.errors",
        "peter.config",
    ),
}

LIGHT = ("peter.registry", "peter.config", "peter.errors", "peter.plugins", "peter.progress", "peter.cli")
HEAVY = {
    "torch",
    "ray",
    "polars",
    "alembic",
    "duckdb",
    "numpy",
    "scipy",
    "sklearn",
    "pyarrow",
    "optuna",
    "matplotlib",
}
THIRD_PARTY = {  # where a floor is bound to a library, and to no other
    "peter.nn": {"torch"},
    "peter.task": {"torch"},
    "peter.config": set(),
    "peter.errors": set(),
    "peter.faults": set(),
    "peter.interval": set(),
    "peter.plugins": set(),
    "peter.progress": set(),
    "peter.schedule": set(),
    "peter.space": set(),
}


def _modules() -> dict[str, Path]:
    found = {}
    for folder, package in FOLDERS.items():
        for path in sorted((ROOT / folder).rglob("*.py")):
            parts = path.relative_to(ROOT / folder).with_suffix("").parts
            found[".".join((package, *(part for part in parts if part != "__init__")))] = path
    return found


MODULES = _modules()
every_module = pytest.mark.parametrize("module", MODULES)


def _within(name: str, package: str) -> bool:
    return name == package or name.startswith(f"{package}.")


def _part(module: str) -> str:
    """The entry of FLOORS or LEAVES that holds a module."""
    parts = [part for part in (*LEAVES, *FLOORS) if part != "peter" and _within(module, part)]
    return parts[0] if parts else module


def _room(module: str) -> str:
    """What holds a module of services, as ROOMS should name it; empty for any other module."""
    return module.split(".")[2] if module.startswith("peter.services.") else ""


def _absolute(node: ast.ImportFrom, module: str, path: Path) -> str:
    if not node.level:
        return node.module or ""
    package = module.split(".") if path.name == "__init__.py" else module.split(".")[:-1]
    above = package[: len(package) - node.level + 1]
    return ".".join([*above, *([node.module] if node.module else [])])


def _imported(nodes: Iterator[ast.AST], module: str) -> Iterator[str]:
    """Full names; `from a import b` is a.b where that is a module of peter's."""
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = _absolute(node, module, MODULES[module])
            for alias in node.names:
                name = f"{base}.{alias.name}"
                yield name if name in MODULES else base


def _at_import(node: ast.AST) -> Iterator[ast.AST]:
    """What runs when a module is imported: no bodies of functions, nothing under TYPE_CHECKING."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test):
            continue
        yield child
        yield from _at_import(child)


def _tree(module: str) -> ast.Module:
    return ast.parse(MODULES[module].read_text())


def _all_imports(module: str) -> set[str]:
    return set(_imported(ast.walk(_tree(module)), module))


@every_module
def test_imports_go_down(module):
    here = _part(module)
    for name in _all_imports(module):
        if not _within(name, "peter") or _part(name) == here:
            continue
        if here in LEAVES:
            assert any(_within(name, allowed) for allowed in LEAVES[here]), f"{module} may not use {name}"
            continue
        there = _part(name)
        assert there in FLOORS, f"{module} names {name}: leaves are discovered, and a new part needs a floor"
        down = FLOORS[there] < FLOORS[here] or FLOORS[there] == 0 or (here, there) in BESIDE
        assert down, f"{module} (floor {FLOORS[here]}) imports {name} (floor {FLOORS[there]})"


@every_module
def test_imports_between_rooms_of_services_go_down(module):
    if here := _room(module):
        assert here in ROOMS, f"{module} needs a room of services"
        for there in {_room(name) for name in _all_imports(module)} - {here, ""}:
            assert ROOMS[there] < ROOMS[here], f"{module} ({here}) imports from {there}"


@every_module
def test_only_distributed_knows_ray(module):
    if not _within(module, "peter.distributed"):
        assert not {name for name in _all_imports(module) if _within(name, "ray")}


@every_module
def test_light_modules_load_nothing_heavy(module):
    if any(_within(module, light) for light in LIGHT):
        loaded = {name.partition(".")[0] for name in _imported(_at_import(_tree(module)), module)}
        assert not loaded & HEAVY


@every_module
def test_low_floors_keep_to_their_libraries(module):
    allowed = THIRD_PARTY.get(_part(module))
    if allowed is not None:
        names = {name.partition(".")[0] for name in _all_imports(module)}
        assert names <= sys.stdlib_module_names | {"peter"} | allowed


@every_module
def test_the_command_line_uses_only_documented_names_of_typer(module):
    assert not {name for name in _all_imports(module) if _within(name, "click") or name.startswith("typer._")}


@every_module
def test_functions_fit_on_a_screen(module):
    for node in ast.walk(_tree(module)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno is not None
            assert node.end_lineno - node.lineno < 60, f"{module}.{node.name}"


def test_the_walk_sees_every_folder():
    assert {_part(module) for module in MODULES} >= {
        "peter.cli",
        "peter.tasks",
        "peter.migrations",
        "peter.nn",
    }
    assert len(MODULES) > 40


@pytest.mark.parametrize("folder", ["platform", "tests/platform"])
def test_platform_is_never_a_package(folder):
    assert not (ROOT / folder / "__init__.py").exists()


def test_the_standard_library_s_platform_wins():
    look = "import platform; print(platform.system())"
    done = subprocess.run([sys.executable, "-c", look], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip()


def test_pytest_keeps_its_default_import_mode():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["pytest"]["ini_options"]
    written = [*settings["addopts"], (ROOT / "Makefile").read_text(), (ROOT / ".ci/run").read_text()]
    assert not any("import-mode" in text for text in written)
