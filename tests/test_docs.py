"""Documentation that cannot drift: the reference is the live help, and the README's commands are executed."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest
import typer

ROOT = Path(__file__).parent.parent
GENERATE = [sys.executable, "-m", "typer", "peter.cli.main", "utils", "docs"]
LONGEST_SUMMARY = 45  # letters; beyond, lists of commands show three dots


def _commands(command: Any, path: tuple[str, ...] = ("peter",)) -> Iterator[tuple[str, Any]]:
    children = getattr(command, "commands", {})
    yield from () if children else [(" ".join(path), command)]
    for name, child in children.items():
        yield from _commands(child, (*path, name))


def _root() -> Any:
    (main,) = entry_points(group="console_scripts", name="peter")
    return typer.main.get_command(sys.modules[main.load().__module__].app)


COMMANDS = dict(_commands(_root()))


def test_the_reference_is_the_live_help():
    live = subprocess.run(
        [*GENERATE, "--name", "peter", "--title", "The command line"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert (ROOT / "docs/cli.md").read_text().strip() == live.stdout.strip(), "run `make docs`"


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_says_what_it_does_and_shows_how(name):
    command = COMMANDS[name]
    summary, example = command.help.partition("\n")[0], command.epilog
    assert summary.endswith(".")
    assert len(summary) <= LONGEST_SUMMARY
    assert example.startswith(f"Example: {name}")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_has_help(name):
    assert [parameter.name for parameter in COMMANDS[name].params if not parameter.help] == []


def test_groups_are_summed_up_in_full():
    for group in _root().commands.values():
        assert len(group.help.partition("\n")[0]) <= LONGEST_SUMMARY


@pytest.mark.parametrize("path", ["README.md", "docs/cluster.md"])
def test_every_command_that_is_shown_exists(path):
    """Also those that the reader is to run: the command, and each option by its name."""
    blocks = re.findall(r"^```(?:sh|console)\n(.*?)^```", (ROOT / path).read_text(), re.MULTILINE | re.DOTALL)
    lines = [line.removeprefix("$ ").partition("#")[0] for line in "\n".join(blocks).splitlines()]
    shown = [line for line in lines if line.startswith("peter ")]
    assert shown
    for line in shown:
        names = [" ".join(line.split()[:count]) for count in (3, 2)]
        name = next((name for name in names if name in COMMANDS), None)
        assert name, line
        known = {option for each in COMMANDS[name].params for option in each.opts + each.secondary_opts}
        assert set(re.findall(r"(?<= )--[a-z-]+", line)) <= known, line


def test_the_tests_that_hold_what_is_promised_exist():
    promised = (ROOT / "docs/reliability.md").read_text()
    held = re.findall(r"`(\w+/test_\w+\.py)(?:::(\w+))?`", promised)
    assert held
    for path, test in held:
        assert f"def {test}" in (ROOT / "tests" / path).read_text(), f"{path}::{test}"


@pytest.mark.slow
def test_the_commands_of_the_readme_run_as_they_stand(tmp_path):
    """Blocks marked `console` run from top to bottom in one directory; others are for the reader to run."""
    blocks = re.findall(r"^```console\n(.*?)^```", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    lines = [
        line.removeprefix("$ ") for block in blocks for line in block.splitlines() if line.startswith("$ ")
    ]
    assert lines, "README.md shows no command"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PETER_")}
    environment["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(
        ["bash", "-euxo", "pipefail", "-c", "\n".join(lines)],
        cwd=tmp_path, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
