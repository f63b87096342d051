"""A task kind from somebody else's package: once installed, it is there, and nothing of peter was edited."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import polars as pl
import pytest

EXAMPLE = Path(__file__).parent.parent / "examples/add_a_task"
RUN = [sys.executable, "-c", "from peter.cli.main import main; main()"]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Where the example is installed, from a copy, so that nothing is built in the checkout."""
    copy, site = tmp_path_factory.mktemp("sources") / "add_a_task", tmp_path_factory.mktemp("site")
    shutil.copytree(EXAMPLE, copy, ignore=shutil.ignore_patterns("__pycache__", "build", "*.egg-info"))
    install = ["-m", "pip", "install", "--no-deps", "--no-build-isolation", "--no-index", "--quiet"]
    subprocess.run([sys.executable, *install, "--target", str(site), str(copy)], check=True)
    own = {name: value for name, value in os.environ.items() if not name.startswith("PETER_")}
    return {**own, "PYTHONPATH": str(site), "GOMP_SPINCOUNT": "1000"}


def run(words: list[str], directory: Path, environment: dict[str, str]) -> str:
    done = subprocess.run(words, cwd=directory, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout


def test_it_keeps_the_contract(environment: dict[str, str]) -> None:
    words = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(EXAMPLE / "tests")]
    assert " passed" in run(words, EXAMPLE, environment)


def test_it_answers_for_users_like_any_other(place: Path, environment: dict[str, str]) -> None:
    def peter(*words: str) -> Any:
        return json.loads(run([*RUN, *words, "--json"], place, environment))

    events = pl.read_csv(place / "events.csv", infer_schema=False)
    mine = pl.col("item_id").is_in([f"i{at:07}" for at in range(8)])  # something that can be learnt
    orders = events.group_by("user_id").agg(orders=mine.sum())
    orders.sort("user_id").head(250).write_csv(place / "orders.csv")
    made = peter(
        "task", "add", "orders", "--labels", "orders.csv", "--kind", "count", "--set", "epochs=2",
        "--set", "threads=1",
    )  # fmt: skip
    assert made["kind"] == "count"
    report = made["report"]["metrics"]
    assert report["test"]["deviance"]["value"] < report["baselines"]["majority"]["deviance"]["value"]
    peter("profile", "materialize", "--tasks", "orders")
    (card,) = peter("profile", "get", "u0000299")["users"]
    answer = card["tasks"]["orders"]
    assert answer["source"] == "predicted"
    assert answer["value"] > 0
    assert 0 < answer["details"]["any"] < 1
    assert peter("verify")["problems"] == []
