"""Whatever is typed in whatever order, killed or not: the registry is what a dictionary says it is."""

import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from commands import require_audited, rows_of, seed
from hypothesis import HealthCheck, settings, stateful
from hypothesis import seed as seeded
from hypothesis import strategies as st
from processes import forkserver
from registry_model import Model, Typist, Words, die, write_labels
from small_workspace import add_task, copy_registry, table_rows, url

from peter.errors import InputError
from peter.progress import Silent
from peter.registry import live
from peter.services.integrity import upkeep
from peter.services.integrity.verify import verify
from peter.services.version import versions
from peter.services.workspace import Address, Workspace

FILES = 4
POINTS = {  # by verb: where a command is killed, and whether its change stays
    "add": {"task.add:task": False, "task.add:stored": False, "task.add:committed": True},
    "train": {"task.add:trained": False, "task.add:registered": False, "task.add:committed": True},
    "promote": {"task.promote:moved": False, "task.promote:committed": True},
    "rollback": {"task.rollback:moved": False, "task.rollback:committed": True},
    "remove": {"task.remove:retired": False, "task.remove:committed": True},
    "gc": {"gc:begun": False, "gc:removed": False},
}
names, numbers = st.sampled_from(["alpha", "beta"]), st.integers(0, FILES - 1)
added, trained = (st.tuples(st.just(verb), names, numbers) for verb in ("add", "train"))
promoted = st.tuples(st.just("promote"), names, st.integers(1, 3))
back = st.tuples(st.just("rollback"), names)
removed = st.just(("remove", "beta"))  # alpha lives long
Start = Callable[[], Any]


class Machine(stateful.RuleBasedStateMachine):
    """A workspace beside its model."""

    kills = 0

    def __init__(self, start: Callable[[], Any]) -> None:
        super().__init__()
        self.given = start()
        self.typist: Typist = self.given.__enter__()
        self.workspace = self.typist.address.open()
        self.model, self.pending = Model(), ()

    @stateful.initialize()
    def begin(self) -> None:
        """One task is there."""
        self.type(("add", "alpha", 0))

    # One rule a verb: of the rules, and not of what they draw, Hypothesis leaves some out for a while.

    @stateful.rule(words=added)
    def add(self, words: Words) -> None:
        """A first version."""
        self.type(words)

    @stateful.rule(words=trained)
    def train(self, words: Words) -> None:
        """A version; those of even numbers pass the gate."""
        self.type(words)

    @stateful.rule(words=promoted)
    def promote(self, words: Words) -> None:
        """A version by hand."""
        self.type(words)

    @stateful.rule(words=back)
    def rollback(self, words: Words) -> None:
        """The champion before."""
        self.type(words)

    @stateful.rule(words=removed)
    def remove(self, words: Words) -> None:
        """A task."""
        self.type(words)

    @stateful.rule()
    def gc(self) -> None:
        """What nothing needs."""
        self.type(("gc",))

    @stateful.rule(words=st.one_of(added, trained), at=st.integers(0, 2))
    def kill_a_fit(self, words: Words, at: int) -> None:
        """A version, up to a point."""
        self.kill(words, at)

    @stateful.rule(words=st.one_of(promoted, back, removed, st.just(("gc",))), at=st.integers(0, 1))
    def kill_a_move(self, words: Words, at: int) -> None:
        """Anything else, up to a point."""
        self.kill(words, at)

    def kill(self, words: Words, at: int) -> None:
        """A command, up to a point, if it comes that far."""
        verb, expected = words[0], self.expected(words)
        point, stays = list(POINTS[verb].items())[at % len(POINTS[verb])]
        process = forkserver.Process(target=die, args=(self.typist, words, point))
        process.start()
        process.join()
        self.pending = words
        if expected is None:
            assert process.exitcode == 2
        elif process.exitcode == 0 or (stays and process.exitcode == -signal.SIGKILL):
            self.model = expected
        else:
            assert process.exitcode == -signal.SIGKILL
            if verb == "add":
                self.model.begin(words[1])
        Machine.kills += process.exitcode == -signal.SIGKILL

    @stateful.precondition(lambda self: self.pending)
    @stateful.rule()
    def again(self) -> None:
        """The command that was killed."""
        self.type(self.pending)
        self.pending = ()

    @stateful.invariant()
    def alike(self) -> None:
        """The registry is the model."""
        rows = table_rows(self.workspace.registry)
        assert {task["name"]: self.found(rows, task) for task in rows["task"]} == {
            name: (task.labels, task.aliases, task.moves, task.retired)
            for name, task in self.model.tasks.items()
        }
        changes = [row for row in rows["audit"] if not row["action"].startswith("run.")]
        assert len(changes) == self.typist.changes + self.model.changes
        require_audited(rows)

    def teardown(self) -> None:
        """Everything is whole, and what nothing needs goes."""
        assert verify(self.workspace, False, Silent())["problems"] == []
        upkeep.collect(self.workspace)
        with self.workspace.registry.read() as session:
            assert list(self.workspace.objects.sizes()) == sorted(live.objects(session))
        self.workspace.registry.dispose()
        self.given.__exit__(None, None, None)

    def type(self, words: Words) -> None:
        """A command, to its end."""
        expected = self.expected(words)
        if expected is None:
            with pytest.raises(InputError):
                self.typist.type(self.workspace, words)
        else:
            self.typist.type(self.workspace, words)
            self.model = expected

    def expected(self, words: Words) -> Model | None:
        """The model after a command, or None where it is refused."""
        model = deepcopy(self.model)
        try:
            model.do(*words)
        except InputError:
            return None
        return model

    def found(self, rows: dict[str, Any], task: dict[str, Any]) -> tuple[Any, ...]:
        """What the registry says of a task."""
        mine = {
            table: [row for row in rows[table] if row["task_id"] == task["id"]]
            for table in ("patch", "label_set", "alias", "alias_history")
        }
        files = {row["id"]: self.typist.people - row["users"] for row in mine["label_set"]}
        return (
            [files[row["label_set_id"]] for row in mine["patch"]],
            {row["alias"]: row["version"] for row in mine["alias"]},
            len(mine["alias_history"]),
            task["retired_at"] is not None,
        )


@pytest.fixture(scope="module")
def begun(pretrained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace without a task, and files of labels."""
    place = shutil.copytree(pretrained, tmp_path_factory.mktemp("begun"), dirs_exist_ok=True)
    write_labels(place, FILES)
    return place


@pytest.fixture(scope="module")
def made(begun: Path, tmp_path_factory: pytest.TempPathFactory) -> versions.Made:
    """What a real fit makes."""
    place = shutil.copytree(begun, tmp_path_factory.mktemp("made"), dirs_exist_ok=True)
    kept: list[versions.Made] = []
    real = versions.trained
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(versions, "trained", lambda *given: kept.append(real(*given)) or kept[0])
        workspace = Workspace.open(url(place))
        add_task(workspace, "alpha", place / "labels0.csv", method="bag", settings=["threads=1"])
        workspace.registry.dispose()
    return kept[0]


@pytest.fixture(params=["sqlite", "postgresql"])
def start(request: pytest.FixtureRequest, begun: Path, made: versions.Made, tmp_path: Path) -> Start:
    """What begins an example: a typist at a workspace of its own."""
    people = len((begun / "labels0.csv").read_text().splitlines()) - 1
    changes = len([row for row in rows_of(url(begun))["audit"] if not row["action"].startswith("run.")])
    server = request.getfixturevalue("postgres") if request.param == "postgresql" else None
    template = server.create() if server else ""
    if server:
        copy_registry(url(begun), template)

    @contextmanager
    def started() -> Iterator[Typist]:
        place = Path(tempfile.mkdtemp(dir=tmp_path))
        shutil.copytree(begun, place, dirs_exist_ok=True)
        address = server.create(like=_name(template)) if server else url(place)
        yield Typist(place, Address(address, str(place / ".peter" / "store")), made, people, changes)
        if server:
            server.drop(address)
        shutil.rmtree(place)

    return started


def _name(registry: str) -> str:
    return registry.rpartition("/")[2].partition("?")[0]


USUAL = settings(deadline=None, database=None, suppress_health_check=list(HealthCheck))


@pytest.mark.slow
def test_a_few_orders(start: Start) -> None:
    few = settings(USUAL, max_examples=8, stateful_step_count=15, derandomize=True)
    stateful.run_state_machine_as_test(lambda: Machine(start), settings=few)


@pytest.mark.timeout(900)
@pytest.mark.faults
def test_many_orders(start: Start) -> None:
    many = settings(USUAL, max_examples=12, stateful_step_count=25)
    before = Machine.kills
    stateful.run_state_machine_as_test(seeded(seed())(lambda: Machine(start)), settings=many)
    print(f"{Machine.kills - before} kills")
    assert Machine.kills > before
