"""The registry as a dictionary, and the commands that change both; versions cost no fit."""

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

from small_workspace import add_task, train_task

from peter import faults
from peter.errors import InputError
from peter.registry import aliases, tasks
from peter.services.integrity import upkeep, verify
from peter.services.patch.requests import Request
from peter.services.promotion import gate
from peter.services.promotion.promote import promote, rollback
from peter.services.version import versions
from peter.services.workspace import Address, Workspace

Words = Sequence[Any]  # a command: its verb and what it is given


@dataclass
class Task:
    """What there is to know of a task."""

    labels: list[int] = field(default_factory=list)  # of each version, by the number of the file
    held: list[int] = field(default_factory=list)  # champions, without those that were rolled back
    challenger: int | None = None
    moves: int = 0
    retired: bool = False

    @property
    def aliases(self) -> dict[str, int]:
        """What each alias names."""
        named = {aliases.CHAMPION: self.held[-1] if self.held else None, aliases.CHALLENGER: self.challenger}
        return {alias: version for alias, version in named.items() if version}


class Model:
    """The registry as a dictionary."""

    def __init__(self) -> None:
        self.tasks: dict[str, Task] = {}
        self.changes = 0  # rows of the audit, but for those of runs

    def do(self, verb: str, name: str = "", number: int = 0) -> None:
        """Change what a command changes. Raises InputError where it is to be refused."""
        if verb != "gc":
            getattr(self, f"_{verb}")(name, number)

    def begin(self, name: str) -> None:
        """Have the row of a new task."""
        if name not in self.tasks:
            self.tasks[name] = Task()
            self.changes += 1

    def _add(self, name: str, number: int) -> None:
        if name in self.tasks and (self.tasks[name].held or self.tasks[name].retired):
            raise InputError
        self.begin(name)
        self._version(self.tasks[name], number)

    def _train(self, name: str, number: int) -> None:
        task = self._finished(name)
        if number not in task.labels:
            self._version(task, number)

    def _version(self, task: Task, number: int) -> None:
        task.labels.append(number)
        self.changes += 2  # its labels and itself
        if not task.held or number % 2 == 0:
            self._promoted(task, len(task.labels))
        else:
            task.challenger = len(task.labels)
            self._moved(task)

    def _promote(self, name: str, number: int) -> None:
        task = self._finished(name)
        if number > len(task.labels):
            raise InputError
        if number != task.held[-1]:
            self._promoted(task, number)

    def _rollback(self, name: str, _: int) -> None:
        task = self._there(name)
        if len(task.held) < 2:
            raise InputError
        task.held.pop()
        self._moved(task)

    def _remove(self, name: str, _: int) -> None:
        self._there(name).retired = True
        self.changes += 1

    def _promoted(self, task: Task, version: int) -> None:
        task.held.append(version)
        task.challenger = None if task.challenger == version else task.challenger
        self._moved(task)

    def _moved(self, task: Task) -> None:
        task.moves += 1
        self.changes += 1

    def _there(self, name: str) -> Task:
        if name not in self.tasks or self.tasks[name].retired:
            raise InputError
        return self.tasks[name]

    def _finished(self, name: str) -> Task:
        task = self._there(name)
        if not task.held:
            raise InputError
        return task


def write_labels(place: Path, files: int) -> None:
    """Files of labels of which each lacks as many users as its number says."""
    head, *lines = (place / "gender.csv").read_text().splitlines()
    for number in range(files):
        (place / f"labels{number}.csv").write_text("\n".join([head, *lines[number:]]) + "\n")


@dataclass(frozen=True)
class Typist:
    """Who types commands at a place.

    Args:
        made: what every version has for its tensors and metrics, in place of a fit.
        people: users in the file of labels that has all of them.
        changes: rows of the audit, but for those of runs, before anything is typed.
    """

    place: Path
    address: Address
    made: versions.Made
    people: int
    changes: int

    def type(self, workspace: Workspace, words: Words) -> None:
        """Do what a command does. Raises InputError where it is refused."""
        verb, name, number = (*words, "", 0)[:3]
        labels = self.place / f"labels{number}.csv"
        with patch.object(versions, "trained", self._trained):
            if verb == "add":
                add_task(workspace, name, labels, method="bag", settings=["threads=1"])
            elif verb == "train":
                train_task(workspace, name, labels=labels)
            elif verb == "promote":
                promote(workspace, f"{name}@{number}", False, "")
            elif verb == "rollback":
                rollback(workspace, name, False)
            elif verb == "remove":
                upkeep.remove_task(workspace, name, False)
            else:
                upkeep.collect(workspace)

    def _trained(self, workspace: Workspace, request: Request, _: Any) -> versions.Made:
        faults.reach("task.add:trained")
        with workspace.registry.read() as session:
            champion = aliases.version(session, tasks.get(session, request.name), aliases.CHAMPION)
        verify.require(workspace, verify.others(workspace, request.name), request.name)
        better = champion is None or (self.people - len(request.table.users)) % 2 == 0
        verdict = gate.Verdict(better, "so it is", request.kind.primary, {})
        return replace(self.made, champion=champion, verdict=verdict)


def die(typist: Typist, words: Words, point: str) -> None:
    """A process: type a command and be killed at a point; it ends with 2 where the command is refused."""
    os.environ[faults.VARIABLE] = point
    try:
        typist.type(typist.address.open(), words)
    except InputError:
        sys.exit(2)
