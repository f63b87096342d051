"""Importing: order, ties, rare items and users, the same bytes, and appending."""

import random
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import ANY

import numpy as np
import polars as pl
import pytest
import safetensors.numpy
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from peter.data import events, sequences, spool
from peter.data.event_log import EventLog
from peter.data.events import ImportedEvents, import_events
from peter.data.sequences import stable_order
from peter.errors import InputError
from peter.progress import Bar, Silent

HEAD = "user_id,item_id,timestamp\n"
Make = Callable[..., ImportedEvents]


def lines(count: int, seed: int = 0) -> list[str]:
    """Random events without two of a user at one time."""
    generator = random.Random(seed)
    times = generator.sample(range(-50, 10 * count), count)
    return [f"u{generator.randrange(20)},i{int(generator.random() ** 2 * 30)},{time}" for time in times]


def files(made: ImportedEvents) -> list[bytes]:
    return [path.read_bytes() for path in (made.sequences, made.users, made.items)]


def test_users_are_sorted_by_id_and_items_by_falling_count_then_id(
    write: Callable[..., Path], make: Make
) -> None:
    made = make(write(HEAD + "b,x,5\nB,y,4\na,z,3\nb,y,2\na,Y,1\n"))
    assert pl.read_parquet(made.users)["user_id"].to_list() == ["B", "a", "b"]
    items = pl.read_parquet(made.items)
    assert items.schema == {"item_id": pl.String, "row": pl.Int32, "count": pl.Int64}
    assert items.rows() == [
        ("[PAD]", 0, 0), ("[MASK]", 1, 0), ("[TCL]", 2, 0), ("[UNK]", 3, 0),
        ("y", 4, 2), ("Y", 5, 1), ("x", 6, 1), ("z", 7, 1),
    ]  # fmt: skip
    tensors = safetensors.numpy.load_file(made.sequences)
    assert tensors["offsets"].tolist() == [0, 1, 3, 5]
    assert tensors["items"].tolist() == [4, 5, 7, 4, 6]
    assert tensors["timestamps"].tolist() == [4, 1, 3, 2, 5]
    assert [tensors[name].dtype for name in ("offsets", "items", "timestamps")] == [
        np.int64,
        np.int32,
        np.int64,
    ]
    assert (made.users_count, made.items_count, made.events_count) == (3, 4, 5)
    assert (made.first_at, made.last_at, made.time_unit) == (1, 5, "number")
    assert made.report == {"rows": 5, "dropped": {"rare item": 0, "rare user": 0}, "files": ANY}


def test_events_of_one_time_keep_the_order_of_the_files(
    write: Callable[..., Path], log_of: Callable[..., EventLog]
) -> None:
    first = write(HEAD + "u,d,7\nv,x,7\nu,b,7\nu,z,9\nu,c,7\n", "first.csv")
    second = write(HEAD + "u,a,7\nu,y,1\n", "second.csv")
    for paths, order in (((first, second), "ydbcaz"), ((second, first), "yadbcz")):
        log = log_of(*paths)
        ids = log.vocabulary.item_ids
        assert "".join(ids[row] for row in log.items[: log.offsets[1]]) == order


def test_order_and_division_into_files_do_not_change_a_byte(
    write: Callable[..., Path], make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    events = lines(2000)
    one = files(make(write(HEAD + "\n".join(events))))
    random.Random(1).shuffle(events)
    monkeypatch.setattr(spool, "_RUN", 101)  # many runs, as in a log of millions
    monkeypatch.setattr(sequences, "_RUN", 211)
    parts = [write(HEAD + "\n".join(events[at::3]), f"part-{at}.csv") for at in range(3)]
    assert files(make(*parts)) == one
    assert files(make(*reversed(parts))) == one


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    events=st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("xyz"), st.integers(0, 3)), min_size=1),
    run=st.integers(1, 9),
)
def test_an_import_is_a_stable_sort_by_user_and_time(
    tmp_path_factory: pytest.TempPathFactory, events: list[tuple[str, str, int]], run: int
) -> None:
    folder = tmp_path_factory.mktemp("events")
    (folder / "events.csv").write_text(HEAD + "".join(f"{u},{i},{t}\n" for u, i, t in events))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(spool, "_RUN", run)
        patch.setattr(sequences, "_RUN", run)
        made = import_events([folder / "events.csv"], work_dir=folder, progress=Silent())
    tensors = safetensors.numpy.load_file(made.sequences)
    ids = pl.read_parquet(made.items)["item_id"].gather(tensors["items"]).to_list()
    expected = sorted(events, key=lambda event: (event[0], event[2]))
    assert ids == [item for _, item, _ in expected]
    assert tensors["timestamps"].tolist() == [time for _, _, time in expected]


def test_rare_items_go_first_and_then_the_users_left_rare(write: Callable[..., Path], make: Make) -> None:
    text = HEAD + "u,a,1\nu,b,2\nu,rare,3\nv,a,1\nv,odd,2\nw,b,1\nw,a,2\n"
    made = make(write(text), min_item_count=2, min_user_count=2)
    assert pl.read_parquet(made.users)["user_id"].to_list() == ["u", "w"]
    assert pl.read_parquet(made.items)["count"].to_list() == [0, 0, 0, 0, 2, 2]  # of the log, without v
    assert made.report["rows"] == 7
    assert made.report["dropped"] == {"rare item": 2, "rare user": 1}
    with pytest.raises(InputError, match="--min-item-count"):
        make(write(text), min_item_count=9)


def test_nothing_but_the_results_is_left_behind(write: Callable[..., Path], make: Make) -> None:
    made = make(write(HEAD + "u,i,1\n"))
    assert {path.name for path in made.users.parent.iterdir()} == {
        "sequences.safetensors", "users.parquet", "items.parquet",
    }  # fmt: skip
    broken = write(HEAD + "u,i,1\nu,i,x\n")
    with pytest.raises(InputError):
        make(broken)
    assert list((made.users.parent.parent / "work-1").iterdir()) == []


def test_appending_keeps_every_row_that_was_given(
    write: Callable[..., Path], make: Make, log_of: Callable[..., EventLog]
) -> None:
    old = write(HEAD + "u,a,5\nu,b,6\nv,a,7\n", "old.csv")
    new = write(HEAD + "t,c,1\nu,d,4\nu,c,6\nt,c,8\nt,a,9\n", "new.csv")
    base = log_of(old)
    log = log_of(new, base=base, min_item_count=1)
    assert log.vocabulary.item_ids[: base.vocabulary.size] == base.vocabulary.item_ids
    assert log.vocabulary.item_ids[base.vocabulary.size :] == ["c", "d"]
    assert log.vocabulary.counts.tolist() == [0, 0, 0, 0, 3, 1, 3, 1]
    whole = log_of(old, new)
    assert log.user_ids == whole.user_ids == ["t", "u", "v"]
    assert log.timestamps.tolist() == whole.timestamps.tolist()
    names = [[each.vocabulary.item_ids[row] for row in each.items] for each in (log, whole)]
    assert names[0] == names[1]
    report = make(new, base=base, min_user_count=3, min_item_count=2).report
    assert report["rows"] == 5
    assert report["dropped"] == {"rare item": 1, "rare user": 0}  # d; v stays, having been there


def test_a_file_is_known_by_what_its_events_say(
    write: Callable[..., Path], make: Make, tmp_path: Path
) -> None:
    def name(path: Path, **columns: str) -> str:
        (found,) = make(path, **columns).report["files"]
        return found

    first = write(HEAD + "u,a,5\nub,c,6\n")
    table = pl.read_csv(first, infer_schema=False).select("timestamp", who="user_id", item_id="item_id")
    table.write_parquet(tmp_path / "events.parquet")
    assert name(tmp_path / "events.parquet", user="who") == name(first)
    same = {name(first), name(write(HEAD + "u,a,5.0\nub,c,6\n", "same.csv"))}
    others = [
        "u,a,5\nub,c,7\n",
        "u,a,5\nu,bc,6\n",
        "ub,c,6\nu,a,5\n",
        "u,a,5\nub,c,6\nub,c,6\n",
        "u,c,5\nub,a,6\n",
    ]
    for number, text in enumerate(others):
        assert len(same | {name(write(HEAD + text, f"{number}.csv"))}) == 2
    assert name(first, user="item_id", item="user_id") not in same


def test_a_known_file_is_left_out(
    write: Callable[..., Path], make: Make, log_of: Callable[..., EventLog], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "_RUN", 2)
    old = write(HEAD + "u,a,5\nv,b,6\nu,a,7\n", "old.csv")
    again = write(HEAD + "w,d,1\nu,c,4\n", "again.csv")
    new = write(HEAD + "u,e,4\n", "new.csv")
    base = log_of(old, again)
    known = make(old, again).report["files"]
    made = make(again, new, old, base=base, known=known)
    assert files(made) == files(make(new, base=base))
    assert made.report == make(new, base=base).report
    assert (made.events_count, len(made.report["files"])) == (6, 1)
    assert files(make(old, again, base=base, known=known)) == files(make(old, again))


def test_appended_times_must_be_of_the_same_kind(
    write: Callable[..., Path], log_of: Callable[..., EventLog]
) -> None:
    base = log_of(write(HEAD + "u,a,5\n", "old.csv"))
    with pytest.raises(InputError, match="dates"):
        log_of(write(HEAD + "u,a,2024-01-01\n"), base=base)


def test_stable_order_is_a_stable_argsort() -> None:
    rows = np.random.default_rng(0).integers(0, 50, 10_000).astype(np.int32)
    np.testing.assert_array_equal(stable_order(rows), np.argsort(rows, kind="stable"))


class Counting(Silent):
    """Adds up what every bar is told."""

    def __init__(self) -> None:
        self.done: Counter[str] = Counter()
        self.totals: dict[str, float | None] = {}

    @contextmanager
    def bar(self, label: str, total: float | None = None, unit: str = "") -> Iterator[Bar]:
        self.totals[label] = total
        done = self.done

        class Adder:
            def advance(self, amount: float = 1, note: str = "") -> None:
                done[label] += int(amount)

        yield Adder()


def test_progress_counts_every_event_of_every_stage(write: Callable[..., Path], tmp_path: Path) -> None:
    progress = Counting()
    path = write(HEAD + "\n".join(lines(500)))
    import_events([path], work_dir=tmp_path, progress=progress)
    assert progress.done == {"reading": 500, "ordering": 1000}
    assert progress.totals == {"reading": None, "ordering": 1000}
