"""Exit codes and sentences: what happens at the edge of the program."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import pytest

from peter import __version__
from peter.errors import InputError, PeterError

WORDS = [sys.executable, "-c", "from peter.cli.main import main; main()"]


@pytest.fixture
def failing(request: pytest.FixtureRequest) -> Iterator[None]:
    """`peter run list` meets the exception that the test names as its parameter."""
    with mock.patch("peter.services.workspace.Workspace.open", side_effect=request.param):
        yield


def test_version(peter):
    done = peter("--version")
    assert (done.code, done.out, done.err) == (0, f"peter {__version__}\n", "")


@pytest.mark.parametrize(
    ("failing", "code", "sentence"),
    [
        (InputError("File x has no column y."), 2, "File x has no column y.\n"),
        (PeterError("The disk is full."), 1, "The disk is full.\n"),
        (RuntimeError("oops"), 1, "Unexpected RuntimeError: oops; set PETER_DEBUG=1 to see where.\n"),
        (
            KeyboardInterrupt(),
            130,
            "Stopped; what was finished before is kept, and the same command starts again.\n",
        ),
    ],
    indirect=["failing"],
)
@pytest.mark.usefixtures("failing")
def test_an_error_becomes_one_sentence(peter, code, sentence):
    done = peter("run", "list", "--json")
    assert (done.code, done.out, done.err) == (code, "", sentence)


@pytest.mark.parametrize("failing", [InputError("File x has no column y.")], indirect=True)
@pytest.mark.usefixtures("failing")
def test_the_traceback_is_there_for_who_asks(peter, monkeypatch):
    monkeypatch.setenv("PETER_DEBUG", "1")
    done = peter("run", "list")
    assert done.code == 2
    assert done.err.startswith("Traceback")
    assert done.err.endswith("File x has no column y.\n")


@pytest.mark.parametrize(
    "words",
    [
        ["tsak"],
        ["task", "lsit"],
        ["task", "add", "gender"],
        ["task", "add", "gender", "--labels"],
        ["task", "list", "--jsno"],
        ["tune", "--trials", "0"],
        ["data", "import", "--name", "movies"],
    ],
    ids=" ".join,
)
def test_a_mistyped_command_exits_2(peter, words):
    done = peter(*words)
    assert (done.code, done.out) == (2, "")
    assert "Error: " in done.err
    assert "Traceback" not in done.err


def test_pretraining_needs_either_data_or_a_run(peter):
    for words in ([], ["movies", "--resume", "3"]):
        done = peter("backbone", "pretrain", *words)
        assert (done.code, done.out) == (2, "")
        assert "--resume RUN" in done.err


@pytest.mark.parametrize("noun", ["data", "backbone", "task", "run"])
def test_a_group_without_a_verb_lists(peter, noun):
    assert peter(noun) == peter(noun, "list")
    assert peter(noun, "--json") == peter(noun, "list", "--json")
    assert "Commands:" in peter(noun, "--help").out


def test_a_closed_pipe_is_met_in_silence():
    with subprocess.Popen(
        [*WORDS, "task", "--help"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as program:
        assert program.stdout is not None
        assert program.stderr is not None
        program.stdout.close()
        assert program.stderr.read() == b""


def test_help_does_not_load_what_only_work_needs(tmp_path: Path):
    heavy = ("torch", "ray", "polars", "duckdb", "pyarrow", "sklearn", "alembic", "sqlalchemy", "rich")
    look = f"""
import sys
from peter.cli.main import app
app(["--help"], standalone_mode=False)
print([name for name in {heavy} if name in sys.modules], file=sys.stderr)
"""
    done = subprocess.run(
        [sys.executable, "-c", look], cwd=tmp_path, env=os.environ, capture_output=True, text=True, check=True
    )
    assert done.stderr == "[]\n"
