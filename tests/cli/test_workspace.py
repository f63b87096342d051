"""Making a workspace, and being without one."""

import subprocess
import sys

import pytest


def test_init_makes_a_workspace_and_leaves_one_that_exists(peter, tmp_path):
    made = peter("init", "--json")
    assert made.code == 0
    assert (tmp_path / ".peter" / "registry.db").exists()
    assert peter("init", "--json") == made


def test_the_registry_and_the_store_go_where_they_are_told(peter, tmp_path):
    done = peter("init", "--registry", f"sqlite:///{tmp_path}/a/r.db", "--store", tmp_path / "b", "--json")
    assert done.json["store"] == str(tmp_path / "b")
    assert (tmp_path / "a" / "r.db").exists()
    assert not (tmp_path / ".peter").exists()


def test_the_environment_names_the_registry_too(peter, tmp_path, monkeypatch):
    monkeypatch.setenv("PETER_REGISTRY", f"sqlite:///{tmp_path}/a/r.db")
    assert peter("init").code == 0
    assert peter("task", "list", "--json").json == {"tasks": []}


@pytest.mark.parametrize(
    ("words", "key"),
    [
        (["data", "list"], "event_logs"),
        (["backbone", "list"], "backbones"),
        (["task", "list"], "tasks"),
        (["run", "list"], "runs"),
    ],
)
def test_an_empty_workspace_lists_nothing(peter, words, key):
    peter("init")
    assert peter(*words, "--json").json == {key: []}
    drawn = peter(*words)
    assert (drawn.code, drawn.err) == (0, "")


@pytest.mark.parametrize(
    "words",
    [
        ["data", "list"],
        ["data", "import", "events.csv", "--name", "movies"],
        ["data", "append", "movies", "events.csv"],
        ["backbone", "list"],
        ["backbone", "pretrain", "movies"],
        ["task", "list"],
        ["task", "add", "gender", "--labels", "gender.csv"],
        ["task", "check", "--labels", "gender.csv"],
        ["task", "compare", "gender"],
        ["tune"],
        ["profile", "get", "42"],
        ["profile", "materialize"],
        ["run", "list"],
        ["db", "status"],
        ["db", "upgrade"],
        ["verify"],
    ],
    ids=" ".join,
)
def test_without_a_workspace_every_command_says_how_to_make_one(peter, tmp_path, words):
    done = peter(*words)
    assert (done.code, done.out) == (2, "")
    assert "run `peter init`" in done.err
    assert done.err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_the_schema_s_version_is_told(peter):
    peter("init")
    told = peter("db", "status", "--json").json
    assert told["schema"] == told["newest"]
    assert told["pending"] == []
    assert peter("db", "upgrade", "--json").json == told


def test_listing_tasks_loads_no_numbers_library(peter, tmp_path):
    peter("init")
    look = """
import subprocess
import sys
from peter.cli.main import app
app(["task", "list"], standalone_mode=False)
print([name for name in ("torch", "ray", "polars", "numpy", "alembic", "duckdb") if name in sys.modules])
"""
    done = subprocess.run(
        [sys.executable, "-c", look], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout.endswith("[]\n")
