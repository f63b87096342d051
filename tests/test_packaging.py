"""What is installed is what is in the folders, and the wheel alone is enough to work."""

import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text())
SOURCES = ("platform/peter", "cli", "tasks", "migrations")


def _folders() -> set[str]:
    mapped = {folder: package for package, folder in SETTINGS["tool"]["setuptools"]["package-dir"].items()}
    return {
        ".".join([mapped[source], *path.parent.relative_to(ROOT / source).parts])
        for source in SOURCES
        for path in (ROOT / source).rglob("__init__.py")
    }


def test_the_package_list_is_the_folders():
    assert set(SETTINGS["tool"]["setuptools"]["packages"]) == _folders()


def test_every_folder_with_modules_is_a_package():
    for source in SOURCES:
        for path in (ROOT / source).rglob("*.py"):
            assert (path.parent / "__init__.py").exists(), path


def test_the_constraints_pin_every_direct_dependency():
    project = SETTINGS["project"]
    extras = [line for lines in project["optional-dependencies"].values() for line in lines]
    wanted = {_name(line) for line in [*project["dependencies"], *extras]} - {project["name"]}
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pinned = {_name(line) for line in lines if line and not line.startswith("#")}
    assert wanted <= pinned
    assert all("==" in line for line in lines if line and not line.startswith("#"))


def _name(requirement: str) -> str:
    for mark in "[<>=~;":
        requirement = requirement.partition(mark)[0]
    return requirement.strip().lower()


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a clean copy by the installed setuptools: nothing is stale or downloaded."""
    folder, copy = tmp_path_factory.mktemp("wheel"), tmp_path_factory.mktemp("sources")
    for file in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / file, copy)
    for source in SOURCES:
        shutil.copytree(ROOT / source, copy / source, ignore=shutil.ignore_patterns("__pycache__"))
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(copy)],
        check=True, capture_output=True,
    )  # fmt: skip
    (built,) = folder.glob("*.whl")
    return built


@pytest.mark.slow
def test_the_wheel_holds_what_is_no_module_too(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {"peter/py.typed", "peter/migrations/env.py"} <= names
    assert any(name.startswith("peter/migrations/versions/0001") for name in names)
    assert {
        name.partition("/")[0] for name in names if not name.partition("/")[0].endswith(".dist-info")
    } == {"peter"}


@pytest.mark.slow
def test_the_wheel_works_from_an_empty_directory(wheel, tmp_path):
    site, empty = tmp_path / "site", tmp_path / "empty"
    empty.mkdir()
    install = [
        "-m",
        "pip",
        "install",
        "--no-deps",
        "--no-index",
        "--quiet",
        "--target",
        str(site),
        str(wheel),
    ]
    subprocess.run([sys.executable, *install], check=True)
    environment = {**os.environ, "PYTHONPATH": str(site)}
    for words in ("import peter; print(peter.__file__)", "--version", "init --json"):
        command = (
            ["-c", words] if words.startswith("import") else [str(site / "bin" / "peter"), *words.split()]
        )
        done = subprocess.run(
            [sys.executable, *command], cwd=empty, env=environment, capture_output=True, text=True, check=True
        )
        assert str(site) in done.stdout or done.stdout.startswith(("peter ", "{"))
    assert (empty / ".peter" / "registry.db").exists()
