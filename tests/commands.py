"""The command line to be killed, hindered and compared, with what it leaves in a registry."""

import contextlib
import io
import os
import re
import secrets
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from processes import ONE_CORE, forkserver
from small_workspace import table_rows, url
from sqlalchemy import Column

from peter import faults
from peter.progress import Silent
from peter.registry.aliases import CHAMPION
from peter.registry.database import Registry
from peter.registry.models import Base
from peter.registry.record import SEAL
from peter.services.integrity.verify import verify
from peter.services.workspace import Workspace

ADD = "--seed 3 --method bag --no-twin --set threads=1"  # the quickest version there is
FORGOTTEN = re.compile("run_id|.*_at|at|as_of|.*hash|pseudonym")  # columns that differ from run to run

_one = threading.Lock()  # a process that starts asks after all others, whose exit codes can be read but once

Prepare = Callable[[], None]


@dataclass(frozen=True)
class Ended:
    """How a command ended: its exit code, or the signal below zero, and what it said."""

    code: int | None
    out: str = ""
    err: str = ""


class Command:
    """`peter` under way in a process of its own."""

    def __init__(
        self,
        place: Path,
        words: str,
        point: str | None = None,
        prepare: Prepare | None = None,
        registry: str | None = None,
    ) -> None:
        environment = {faults.VARIABLE: point, "PETER_REGISTRY": registry or url(place)}
        environment |= {"PETER_STORE": str(place / ".peter" / "store"), ONE_CORE[0]: ONE_CORE[1]}
        self._said, said = forkserver.Pipe(duplex=False)
        arguments = (str(place), words.split(), prepare, environment, said)
        self.process: BaseProcess = forkserver.Process(target=_peter, args=arguments)
        with _one:
            self.process.start()
        said.close()

    def ended(self) -> Ended:
        """Wait for its end."""
        try:
            out, err = self._said.recv()
        except EOFError:  # killed
            out = err = ""
        with _one:
            self.process.join()
            ended = Ended(self.process.exitcode, out, err)
            self.process.close()
        self._said.close()
        return ended


def run(place: Path, words: str, point: str | None = None, **given: Any) -> Ended:
    """Run a command to its end, or up to the point at which it is to be killed."""
    return Command(place, words, point, **given).ended()


def _peter(
    place: str,
    words: list[str],
    prepare: Prepare | None,
    environment: dict[str, str | None],
    said: Connection,
) -> None:
    from peter.cli.main import main

    os.chdir(place)
    os.environ.update({name: value for name, value in environment.items() if value})
    if prepare:
        prepare()
    sys.argv = ["peter", *words]
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as err:
        try:
            main()
        finally:
            said.send((out.getvalue(), err.getvalue()))


def sentence(ended: Ended, code: int = 1) -> str:
    """The one line that a command failed with."""
    assert (ended.code, ended.out) == (code, ""), ended
    (line,) = ended.err.splitlines()
    assert "Unexpected" not in line
    return line


def outcome(place: Path, registry: str | None = None, quick: bool = False) -> dict[str, Any]:
    """Everything that was registered, but for when and by which run, once every object proved to be whole.

    Rows are called by their place in their table, since a server leaves out the ids of what it undid.

    Args:
        quick: leave the certificates out.
    """
    workspace = Workspace.open(registry or url(place), place / ".peter" / "store")
    assert verify(workspace, quick, Silent())["problems"] == []
    rows = table_rows(workspace.registry)
    workspace.registry.dispose()
    require_audited(rows)
    rows["audit"] = [row for row in rows["audit"] if not row["action"].startswith("run.")]
    for row in rows["audit"]:
        (row["after"] or {}).pop(SEAL, None)  # a digest of what differs, too
    for patch in rows["patch"]:
        del patch["metrics"]["seconds"]
    places = {table: {row["id"]: at for at, row in enumerate(found)} for table, found in rows.items()}
    return {
        table.name: [
            {
                column.name: _named(column, row[column.name], places)
                for column in table.columns
                if not FORGOTTEN.fullmatch(column.name)
            }
            for row in rows[table.name]
        ]
        for table in Base.metadata.sorted_tables
        if table.name not in ("run", "trial")
    }


def _named(column: Column[Any], value: Any, places: dict[str, dict[int, int]]) -> Any:
    key = next(iter(column.foreign_keys), None)
    of = key.column.table.name if key else column.table.name if column.primary_key else None
    return places[of].get(value) if of else value


def require_audited(rows: dict[str, list[dict[str, Any]]]) -> None:
    """See that every change has exactly one row in the audit, and that versions are 1..n."""
    actions = [row["action"] for row in rows["audit"]]
    made = {
        "event_log.add": rows["event_log"],
        "backbone.add": rows["backbone"],
        "task.add": rows["task"],
        "task.retire": [row for row in rows["task"] if row["retired_at"]],
        "label_set.add": rows["label_set"],
        "patch.add": rows["patch"],
        "alias.move": rows["alias_history"],
        "run.start": rows["run"],
        "run.done": [row for row in rows["run"] if row["state"] == "done"],
    }
    assert {action: actions.count(action) for action in made} == {
        action: len(found) for action, found in made.items()
    }
    for task in rows["task"]:
        mine = [row for row in rows["patch"] if row["task_id"] == task["id"]]
        assert [row["version"] for row in mine] == list(range(1, len(mine) + 1))
        key = (task["id"], CHAMPION)
        moves = [row for row in rows["alias_history"] if (row["task_id"], row["alias"]) == key]
        line = [None, *(row["to_version"] for row in moves)]
        assert [row["from_version"] for row in moves] == line[:-1]
        held = [row["version"] for row in rows["alias"] if (row["task_id"], row["alias"]) == key]
        assert held == line[1:][-1:]


def rows_of(registry: str) -> dict[str, list[dict[str, Any]]]:
    """Every row of a registry by its URL."""
    opened = Registry(registry)
    rows = table_rows(opened)
    opened.dispose()
    return rows


def seed() -> int:
    """What a test draws by, printed: PETER_TEST_SEED gives it again."""
    drawn = int(os.environ.get("PETER_TEST_SEED") or secrets.randbelow(1 << 32))
    print(f"PETER_TEST_SEED={drawn}")
    return drawn
