"""On a cluster of several machines, simulated on this one, and one of them is lost on the way."""

import json
import secrets
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from processes import peter, started, wait_for, workers
from small_workspace import PRETRAIN, SHAPE, TASKS, everything, train_task

from peter.progress import Silent
from peter.services.backbone.pretrain import pretrain
from peter.services.promotion.promote import promote
from peter.services.workspace import Workspace

NODES = 3  # of one core each, beside a head that computes nothing; one may be lost
LONG = ["epochs=12", "patience=12"]  # a fit that lasts long enough to be lost in the middle
SPACE = """
epochs = [12]
patience = [12]
dropout = {low = 0.0, high = 0.5}
"""
COMMANDS = {  # and the name of what its workers run
    "backbone pretrain clicks --name wide --channels 8 --blocks 2 --epochs 12 --workers 2"
    " --set max_length=20 --set threads=1 --set patience=12 --set batch_size=16": "RayTrainWorker",
    "profile materialize --workers 2": "_Worker",
    f"task train --all --seed 5 --no-twin --set {' --set '.join(LONG)}": "_done",
    "task compare gender --methods peter,bag,probe": "_done",
    "backbone migrate clicks@1 other@1": "_done",
    "tune gender --trials 4 --space space.toml --no-promote": "Search",
}


class Machines:
    """A cluster that anybody with its token may use."""

    def __init__(self) -> None:
        from ray.cluster_utils import Cluster

        self._cluster = Cluster(initialize_head=True, head_node_args=self._node(cores=0))
        self._others = [self._cluster.add_node(**self._node()) for _ in range(NODES)]

    @property
    def address(self) -> str:
        """What `--ray` takes."""
        return str(self._cluster.address)

    def lose(self, name: str) -> bool:
        """Lose a machine that runs something of that name, if one does; another takes its place."""
        for node in self._others:
            (raylet,) = node.all_processes["raylet"]
            if workers(raylet.process.pid, name):
                self._others.remove(node)
                self._cluster.remove_node(node, allow_graceful=False)
                self._others.append(self._cluster.add_node(**self._node()))
                return True
        return False

    def end(self) -> None:
        """Stop all machines."""
        self._cluster.shutdown()

    @staticmethod
    def _node(cores: int = 1) -> dict[str, Any]:
        return {"num_cpus": cores, "object_store_memory": 100 << 20, "include_dashboard": False}


@pytest.fixture(scope="module")
def machines() -> Iterator[Machines]:
    """The cluster."""
    machines = Machines()
    yield machines
    machines.end()


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: "-".join(command.split()[:2]))
def test_a_lost_machine_costs_time_alone(
    workspace: Workspace, place: Path, machines: Machines, command: str
) -> None:
    (place / "space.toml").write_text(SPACE)
    if "other@1" in command:
        pretrain(workspace, "clicks", "other", SHAPE, replace(PRETRAIN, seed=1), Silent())
        for task in TASKS:
            made = train_task(workspace, task, settings=LONG)
            promote(workspace, f"{task}@{made['report']['version']}", False, "to be moved")
    with started(place, *command.split(), "--ray", machines.address, "--json") as process:
        wait_for(lambda: machines.lose(COMMANDS[command]))
        out, err = process.communicate(timeout=400)
    assert (process.returncode, err) == (0, "")
    assert json.loads(out)
    assert {run["state"] for run in everything(place)["run"]} == {"done"}


@pytest.mark.slow
def test_methods_are_measured_on_a_cluster_as_here(place: Path, machines: Machines) -> None:
    words = ["task", "compare", "gender", "--methods", "peter,bag", "--seeds", "2", "--json"]
    places = ([], ["--ray", machines.address])
    found = [json.loads(peter(place, *words, *more).stdout)["methods"] for more in places]
    kept = ("method", "metrics", "difference", "params")
    here, there = ([[row[key] for key in kept] for row in rows] for rows in found)
    assert there == here


@pytest.mark.slow
def test_who_has_no_token_is_not_let_in(place: Path, machines: Machines, monkeypatch) -> None:
    monkeypatch.setenv("RAY_AUTH_TOKEN", secrets.token_hex(32))
    with started(place, "profile", "materialize", "--ray", machines.address) as process:
        _, err = process.communicate(timeout=120)
    assert process.returncode == 2
    assert err.startswith(f"No Ray cluster lets us in at {machines.address};")
    assert err.count("\n") == 1
