"""Event logs, backbones, tasks, patches, aliases, runs, trials, profiles: what each noun promises."""

import os
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
import registry_rows as rows
from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from peter.errors import InputError, NameTaken, NotOwner, PeterError, UnknownName
from peter.registry import (
    aliases,
    audit,
    backbones,
    event_logs,
    lineage,
    live,
    patches,
    profiles,
    runs,
    tasks,
    trials,
)
from peter.registry.database import Registry
from peter.registry.models import Audit, Backbone, Patch, Run


def _audit_rows(session: Session) -> int:
    return session.scalars(select(func.count()).select_from(Audit)).one()


def test_versions_of_a_name_count_from_one_and_names_are_independent(registry: Registry) -> None:
    def fill(session: Session) -> list[str]:
        logs = [
            event_logs.add(session, rows.event_log(name), "ann") for name in ("movies", "books", "movies")
        ]
        return [f"{log.name}@{log.version}" for log in logs]

    assert registry.write(fill) == ["movies@1", "books@1", "movies@2"]
    with registry.read() as session:
        assert event_logs.get(session, "movies").version == 2
        assert event_logs.get(session, "movies@1").events == 3_000_000_000
        assert [log.name for log in event_logs.every(session)] == ["books", "movies", "movies"]


def test_appended_versions_form_a_line_that_an_import_begins(registry: Registry) -> None:
    def fill(session: Session) -> None:
        parents = {"movies@1": None, "movies@2": "movies@1", "movies@3": None, "movies@4": "movies@2"}
        for number, parent in enumerate(parents.values()):
            base = event_logs.get(session, parent).id if parent else None
            log = rows.event_log(sha256=rows.sha(f"sequences {number}"), parent_id=base)
            event_logs.add(session, log, "ann")
        event_logs.add(session, rows.event_log("books"), "ann")

    registry.write(fill)
    with registry.read() as session:
        logs = {log.reference: log for log in event_logs.every(session)}
        newest = {name: event_logs.newest(session, log).reference for name, log in logs.items()}
        line = [log.reference for log in event_logs.lineage(session, logs["movies@4"])]
    assert newest == {
        "books@1": "books@1", "movies@1": "movies@4", "movies@2": "movies@4", "movies@3": "movies@3",
        "movies@4": "movies@4",
    }  # fmt: skip
    assert line == ["movies@4", "movies@2", "movies@1"]
    assert registry.write(lambda session: event_logs.hold(session, "movies")).version == 4


@pytest.mark.parametrize("reference", ["movie", "movies@7", "movies@champion"])
def test_an_unknown_reference_names_what_is_near(registry: Registry, reference: str) -> None:
    registry.write(rows.world)
    with registry.read() as session:
        for noun in (event_logs, backbones):
            with pytest.raises(UnknownName, match="movies"):
                noun.get(session, reference)


def test_rows_of_an_earlier_session_can_be_referred_to(registry: Registry) -> None:
    registry.write(rows.world)
    with registry.read() as session:
        champion = patches.get(session, "gender")
    second = registry.write(
        lambda session: patches.add(session, rows.patch(champion.label_set, champion.backbone, "more"), "ann")
    )
    assert second.version == 2
    assert second.backbone.event_log.name == "movies"  # usable after the session


def test_the_only_backbone_is_found_and_several_are_listed(registry: Registry) -> None:
    with registry.read() as session, pytest.raises(InputError, match="no backbone yet"):
        backbones.only(session)
    registry.write(rows.world)
    with registry.read() as session:
        assert backbones.only(session).name == "movies"
    registry.write(
        lambda session: backbones.add(
            session, rows.backbone(event_logs.get(session, "movies"), "films"), "ann"
        )
    )
    with registry.read() as session, pytest.raises(InputError, match="films, movies"):
        backbones.only(session)


def test_a_patch_answers_to_version_alias_and_name(registry: Registry) -> None:
    def fill(session: Session) -> None:
        first = rows.world(session)
        second = patches.add(session, rows.patch(first.label_set, first.backbone, "second"), "ann")
        aliases.move(session, second, "challenger", "ann", "tuned")

    registry.write(fill)
    with registry.read() as session:
        found = {
            text: patches.get(session, text).version for text in ("gender", "gender@2", "gender@challenger")
        }
        assert found == {"gender": 1, "gender@2": 2, "gender@challenger": 2}
        with pytest.raises(UnknownName, match="gender@champion"):
            patches.get(session, "gender@champ")


def test_an_identical_request_gives_the_version_that_it_made(registry: Registry) -> None:
    def again(session: Session) -> tuple[int, int]:
        first = patches.get(session, "gender")
        before = _audit_rows(session)
        known = patches.add(session, rows.patch(first.label_set, first.backbone), "ann")
        return known.version, _audit_rows(session) - before

    registry.write(rows.world)
    assert registry.write(again) == (1, 0)
    with registry.read() as session:
        assert len(patches.versions(session, tasks.get(session, "gender"))) == 1


def test_moving_an_alias_keeps_its_history(registry: Registry) -> None:
    def promote(session: Session) -> None:
        first = rows.world(session)
        second = patches.add(session, rows.patch(first.label_set, first.backbone, "second"), "ann")
        assert aliases.move(session, second, aliases.CHAMPION, "ann", "better by .03")
        assert not aliases.move(session, second, aliases.CHAMPION, "ann", "again")
        assert aliases.move(session, first, aliases.CHAMPION, "bob", "rollback")

    registry.write(promote)
    with registry.read() as session:
        task = tasks.get(session, "gender")
        moves = [(move.from_version, move.to_version, move.why) for move in aliases.history(session, task)]
        assert moves == [(None, 1, "first version"), (1, 2, "better by .03"), (2, 1, "rollback")]
        assert aliases.version(session, task, aliases.CHAMPION) == 1
        newest = audit.latest(session, 1)[0]
        assert newest.actor == "bob"
        assert newest.after == {"version": 1, "why": "rollback", "forced_past_owner": "ann"}


def test_a_challenger_that_becomes_champion_challenges_no_more(registry: Registry) -> None:
    def fill(session: Session) -> None:
        made = [rows.world(session)]
        for request in ("second", "third"):
            made.append(patches.add(session, rows.patch(made[0].label_set, made[0].backbone, request), "ann"))
            aliases.settle(session, made[-1], False, "ann", f"{request} is no better")
        aliases.settle(session, made[0], False, "ann", "it answers already")
        aliases.move(session, made[1], aliases.CHAMPION, "ann", "by hand")

    def named(session: Session) -> dict[str, int | None]:
        task = tasks.get(session, "gender")
        return {alias: aliases.version(session, task, alias) for alias in ("champion", "challenger")}

    registry.write(fill)
    with registry.read() as session:
        assert named(session) == {"champion": 2, "challenger": 3}
    registry.write(
        lambda session: aliases.move(
            session, patches.get(session, "gender@challenger"), "champion", "ann", "after all"
        )
    )
    with registry.read() as session:
        assert named(session) == {"champion": 3, "challenger": None}
        moves = [
            (move.alias, move.from_version, move.to_version)
            for move in aliases.history(session, tasks.get(session, "gender"))
        ]
        with pytest.raises(UnknownName, match="gender@challenger"):
            patches.get(session, "gender@challenger")
    assert moves == [
        ("champion", None, 1), ("challenger", None, 2), ("challenger", 2, 3), ("champion", 1, 2),
        ("champion", 2, 3),
    ]  # fmt: skip


def test_lineage_names_what_reads_what(registry: Registry) -> None:
    def fill(session: Session) -> None:
        first = rows.world(session)
        for name in ("age", "tags"):
            reader = rows.first_version(session, first.backbone, name)
            label_set = reader.label_set
            again = rows.patch(label_set, first.backbone, "that reads")
            again.reads = [first.id, reader.id]
            patches.add(session, again, "ann")
        tasks.retire(session, tasks.get(session, "tags"), "ann")

    registry.write(fill)
    with registry.read() as session:
        known = [(version.reference, version.champion) for version in lineage.versions(session)]
        assert known == [("age@1", True), ("age@2", False), ("gender@1", True)]
        assert [version.reference for version in lineage.readers(session, "gender")] == ["age@2"]
        assert lineage.readers(session, "age") == []


CHANGES: list[Callable[[Session], Any]] = [
    lambda session: setattr(patches.get(session, "gender"), "metrics", {"test": {}}),
    lambda session: setattr(patches.get(session, "gender"), "weights_sha256", rows.sha("others")),
    lambda session: setattr(backbones.get(session, "movies"), "weights_sha256", rows.sha("others")),
    lambda session: session.delete(patches.get(session, "gender")),
    lambda session: session.execute(update(Patch).values(params=1)),
    lambda session: session.execute(delete(Backbone)),
]


@pytest.mark.parametrize("change", CHANGES)
def test_what_is_registered_never_changes(registry: Registry, change: Callable[[Session], Any]) -> None:
    registry.write(rows.world)
    with pytest.raises(AssertionError, match="is registered and never changes"):
        registry.write(change)
    registry.write(lambda session: setattr(patches.get(session, "gender"), "state", "needs-retrain"))
    with registry.read() as session:
        patch = patches.get(session, "gender")
        assert (patch.state, patch.params, patch.weights_sha256) == (
            "needs-retrain", 4321, rows.sha("weights of first"),
        )  # fmt: skip


def test_tasks_are_listed_with_their_champions(registry: Registry) -> None:
    def fill(session: Session) -> None:
        first = rows.world(session)
        rows.first_version(session, first.backbone, "age")
        tasks.add(session, rows.task("tags"), "ann")

    registry.write(fill)
    with registry.read() as session:
        listed = [(task.name, patch and patch.version) for task, patch in aliases.with_champions(session)]
        assert listed == [("age", 1), ("gender", 1), ("tags", None)]
        assert [patch.backbone.name for patch in aliases.champions(session)] == ["movies", "movies"]


def test_only_the_owner_changes_a_task_without_force(registry: Registry) -> None:
    task = registry.write(lambda session: tasks.add(session, rows.task(), "ann"))
    tasks.authorise(task, "ann", force=False)
    tasks.authorise(task, "bob", force=True)
    with pytest.raises(NotOwner, match=r"belongs to ann.*--force"):
        tasks.authorise(task, "bob", force=False)


def test_a_removed_task_is_gone_from_lists_and_keeps_its_name(registry: Registry) -> None:
    registry.write(rows.world)
    registry.write(lambda session: tasks.retire(session, tasks.get(session, "gender"), "ann"))
    with registry.read() as session:
        assert aliases.with_champions(session) == []
        assert profiles.current(session) == []
        with pytest.raises(UnknownName):
            tasks.get(session, "gender")
    with pytest.raises(NameTaken, match="removed"):
        registry.write(lambda session: tasks.add(session, rows.task(), "ann"))


def test_an_unfinished_task_is_what_the_last_try_makes_of_it(registry: Registry) -> None:
    task = registry.write(lambda session: tasks.add(session, rows.task(), "ann"))
    for _ in range(2):
        registry.write(lambda session: tasks.begin_again(session, task, "tags", {"classes": ["a"]}, "ann"))
    with registry.read() as session:
        again = tasks.get(session, "gender")
        assert (again.kind, again.outputs) == ("tags", {"classes": ["a"]})
        assert [row.action for row in audit.latest(session, 10)] == ["task.begin_again", "task.add"]


def test_label_sets_are_found_by_their_bytes(registry: Registry) -> None:
    def fill(session: Session) -> list[int]:
        task = tasks.add(session, rows.task(), "ann")
        sets = [tasks.add_labels(session, rows.labels(task, text), "ann") for text in ("old", "new", "old")]
        assert tasks.find_labels(session, task, rows.sha("other")) is None
        return [labels.id for labels in sets]

    first, second, third = registry.write(fill)
    assert first == third != second


def test_a_run_is_started_kept_alive_and_ended(registry: Registry) -> None:
    run = registry.write(lambda session: runs.start(session, "tune", "gender", {"trials": 2}, "ann"))
    assert (run.state, run.pid) == ("running", os.getpid())
    registry.write(lambda session: runs.heartbeat(session, run.id))
    ended = registry.write(lambda session: runs.finish(session, run.id, {"best": 0.5}))
    assert (ended.state, ended.metrics) == ("done", {"best": 0.5})
    assert ended.ended_at
    assert ended.heartbeat_at > run.heartbeat_at
    with registry.read() as session:
        assert [row.action for row in audit.latest(session, 10)] == ["run.done", "run.start"]
        with pytest.raises(UnknownName, match="known: 1"):
            runs.get(session, 99)


def test_a_run_that_failed_is_resumed_by_one_process_and_a_done_one_by_none(registry: Registry) -> None:
    run = registry.write(lambda session: runs.start(session, "pretrain", "movies", {}, "ann"))
    failed = registry.write(lambda session: runs.fail(session, run.id, "the disk is full"))
    assert (failed.state, failed.error) == ("failed", "the disk is full")
    late = registry.write(lambda session: runs.interrupt(session, run.id, "stopped by the user"))
    assert (late.state, late.error) == ("failed", "the disk is full")
    again = registry.write(lambda session: runs.resume(session, run.id, "ann"))
    assert (again.state, again.ended_at, again.error) == ("running", None, None)
    with pytest.raises(InputError, match="is running"):
        registry.write(lambda session: runs.resume(session, run.id, "bob"))
    registry.write(lambda session: runs.finish(session, run.id, {"best": 0.5}))
    with pytest.raises(InputError, match="is done"):
        registry.write(lambda session: runs.resume(session, run.id, "bob"))
    late = registry.write(lambda session: runs.interrupt(session, run.id, "stopped by the user"))
    assert (late.state, late.error, late.metrics) == ("done", None, {"best": 0.5})


def test_runs_of_dead_processes_are_marked_interrupted(registry: Registry) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()

    def start(session: Session) -> None:
        for _ in range(3):
            runs.start(session, "train", "gender", {}, "ann")
        session.execute(update(Run).where(Run.id == 2).values(pid=gone.pid))
        session.execute(update(Run).where(Run.id == 3).values(pid=gone.pid, host="elsewhere"))

    registry.write(start)
    assert [run.id for run in registry.write(runs.interrupt_dead)] == [2]
    with registry.read() as session:
        assert [run.state for run in runs.every(session)] == ["running", "interrupted", "running"]


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="nobody tells when a process began")
def test_a_process_that_was_given_a_dead_one_s_number_does_not_keep_its_run_alive(registry: Registry) -> None:
    def start(session: Session) -> None:
        for _ in range(3):
            runs.start(session, "pretrain", "movies", {}, "ann")
        long_ago = datetime(2020, 1, 1, tzinfo=UTC)
        session.execute(update(Run).where(Run.id < 3).values(started_at=long_ago))
        session.execute(update(Run).where(Run.id == 1).values(heartbeat_at=long_ago))

    registry.write(start)
    assert [run.id for run in registry.write(runs.interrupt_dead)] == [1]
    again = registry.write(lambda session: runs.resume(session, 1, "ann"))
    assert (again.state, registry.write(runs.interrupt_dead)) == ("running", [])


def test_trials_of_a_run(registry: Registry) -> None:
    def tune(session: Session) -> int:
        run = runs.start(session, "tune", "gender", {}, "ann")
        trials.begin(session, run.id, "a", {"learning_rate": 0.1})
        trials.begin(session, run.id, "b", {"learning_rate": 0.2})
        trials.update(session, run.id, "a", "running", {"accuracy": 0.6})
        trials.update(session, run.id, "a", "done")
        trials.update(session, run.id, "b", "failed", error="killed")
        with pytest.raises(UnknownName, match="a, b"):
            trials.update(session, run.id, "zzz", "done")
        trials.begin(session, run.id, "c", {"learning_rate": 0.3})
        runs.interrupt(session, run.id, "stopped by the user")
        return run.id

    run_id = registry.write(tune)
    with registry.read() as session:
        first, second, third = trials.of(session, run_id)
        assert (third.state, third.ended_at is None) == ("interrupted", False)
        assert (first.state, first.metrics, first.ended_at is None) == ("done", {"accuracy": 0.6}, False)
        assert (second.state, second.error) == ("failed", "killed")


def test_a_trial_that_begins_again_is_the_same_row(registry: Registry) -> None:
    def tune(session: Session) -> int:
        run = runs.start(session, "tune", "gender", {}, "ann")
        trials.begin(session, run.id, "1", {"learning_rate": 0.1})
        trials.update(session, run.id, "1", "failed", {"score": 0.6, "curve": [0.6]}, error="killed")
        trials.begin(session, run.id, "2", {"learning_rate": 0.2})
        trials.begin(session, run.id, "1", {"learning_rate": 0.3})
        return run.id

    run_id = registry.write(tune)
    with registry.read() as session:
        first, second = trials.of(session, run_id)
        assert (first.name, first.state, first.config) == ("1", "running", {"learning_rate": 0.3})
        assert (first.metrics, first.error, first.ended_at) == (None, None, None)
        assert second.name == "2"


def test_profile_tables_are_replaced_and_current_ones_found(registry: Registry) -> None:
    now = datetime(2026, 1, 1, 12, tzinfo=timezone(timedelta(hours=2)))

    def score(session: Session) -> None:
        champion = rows.world(session)
        other = patches.add(session, rows.patch(champion.label_set, champion.backbone, "other"), "ann")
        newer = event_logs.add(session, rows.event_log(), "ann")
        profiles.replace(session, champion, champion.backbone.event_log, rows.sha("old"), 5, now, "ann")
        profiles.replace(session, champion, champion.backbone.event_log, rows.sha("p1"), 6, now, "ann")
        profiles.replace(session, champion, newer, rows.sha("p2"), 7, now, "ann")
        profiles.replace(session, other, newer, rows.sha("p3"), 8, now, "ann")

    registry.write(score)
    with registry.read() as session:
        assert [(table.event_log.version, table.rows) for table in profiles.current(session)] == [
            (2, 7),
            (1, 6),
        ]
        assert profiles.current(session)[0].as_of == datetime(2026, 1, 1, 10, tzinfo=UTC)
        needed = live.objects(session)
        assert rows.sha("old") not in needed
        assert needed[rows.sha("p3")] == [live.Use("profile_table", "sha256", 3)]
        assert len(needed[rows.sha("vocabulary")]) == 3
        assert rows.sha("other") not in needed  # a request's hash names no object


def test_a_failing_change_leaves_nothing(registry: Registry) -> None:
    def fail(session: Session) -> None:
        rows.world(session)
        raise PeterError("out of luck")

    with pytest.raises(PeterError, match="luck"):
        registry.write(fail)
    with registry.read() as session:
        assert _audit_rows(session) == 0
        assert tasks.every(session) == []
