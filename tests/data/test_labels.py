"""Strict intake of labels, what identifies them, and matching them with events."""

import random
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from peter.data.event_log import EventLog
from peter.data.labels import LabelTable, match, read_labels
from peter.errors import InputError

HEAD = "user_id,gender\n"


def labels(path: Path, column: str | None = None) -> list[tuple[str, str]]:
    """Users with their only answers."""
    table = read_labels(path, column)
    assert table.conflict is None
    return [(user, answer) for user, (answer,) in zip(table.users, table.labels, strict=True)]


def test_labels_are_read_as_written(write: Callable[..., Path]) -> None:
    table = read_labels(write('\ufeffuser_id,gender\r\n007,F\r\n7,"M, or so"\r\nNA,NA', "l.csv"))
    assert table.users == ["007", "7", "NA"]
    assert table.labels == [("F",), ("M, or so",), ("NA",)]
    assert (table.column, table.timestamps, table.time_unit) == ("gender", None, None)
    assert table.report == {
        "rows": 3, "users": 3, "duplicates": 0, "empty": 0, "distribution": {"F": 1, "M, or so": 1, "NA": 1},
    }  # fmt: skip


def test_identical_rows_and_empty_labels_are_counted(write: Callable[..., Path]) -> None:
    table = read_labels(write(HEAD + "a,F\nb,\na,F\nc,M\nb,\nd,F\n\n"))
    assert table.users == ["a", "c", "d"]
    assert table.report == {
        "rows": 6, "users": 3, "duplicates": 1, "empty": 2, "distribution": {"F": 2, "M": 1},
    }  # fmt: skip


def test_a_recbole_user_file_and_parquet_give_a_column(write: Callable[..., Path]) -> None:
    text = "user_id:token\tage:float\tgender:token\n1\t24\tM\n2\t53\tF\n"
    assert labels(write(text, "x.user"), "gender") == [("1", "M"), ("2", "F")]
    path = write("", "x.parquet")
    frame = pl.DataFrame(
        {"user_id": [1, 2, 3], "age": [24.0, 53.5, float("nan")], "vip": [True, False, None]}
    )
    frame.write_parquet(path)
    assert labels(path, "age") == [("1", "24"), ("2", "53.5")]
    assert labels(path, "vip") == [("1", "true"), ("2", "false")]


def test_timestamps_are_those_of_events(write: Callable[..., Path]) -> None:
    table = read_labels(write("user_id,churn,timestamp\na,1,17\nb,0,18\n"))
    assert (table.timestamps, table.time_unit) == ([17, 18], "number")
    table = read_labels(write("time,user_id,churn\n1970-01-01T00:00:01Z,a,1\n"))
    assert (table.timestamps, table.time_unit) == ([1_000_000], "us")
    table = read_labels(write("user_id,time\na,early\n"), column="time")
    assert (table.labels, table.timestamps) == ([("early",)], None)


def test_the_hash_is_of_the_content_in_any_order(write: Callable[..., Path]) -> None:
    rows = [f"user{at},{'FM'[at % 2]}\n" for at in range(50)]
    first = read_labels(write(HEAD + "".join(rows), "first.csv"))
    random.Random(0).shuffle(rows)
    assert read_labels(write(HEAD + "".join(rows), "second.csv")).sha256 == first.sha256
    for other in (
        HEAD + "".join(rows[1:]),
        HEAD + "".join(rows).replace("user7,M", "user7,F"),
        "user_id,sex\n" + "".join(rows),
    ):
        assert read_labels(write(other)).sha256 != first.sha256


def test_a_table_comes_back_from_its_bytes(write: Callable[..., Path]) -> None:
    for text in (
        HEAD + 'b,"x\u2028y\n\tz"\na,é\n',
        "user_id,churn,time\nb,1,5\na,0,6\n",
        HEAD + "b,x\na,y\nb,a\n",
    ):
        table = read_labels(write(text))
        again = LabelTable.decode(table.encode())
        assert again.sha256 == table.sha256
        assert dict(zip(again.users, again.labels, strict=True)) == dict(
            zip(table.users, table.labels, strict=True)
        )
        assert again.report == table.report


def test_a_user_s_answers_are_distinct_and_sorted_at_the_earliest_time(write: Callable[..., Path]) -> None:
    rows = ["b,rock,7", "a,jazz,9", "b,folk,5", "a,jazz,8", "b,rock,7", "c,,1"]
    table = read_labels(write("user_id,genre,time\n" + "\n".join(rows)))
    assert (table.users, table.timestamps) == (["b", "a"], [5, 8])
    assert table.labels == [("folk", "rock"), ("jazz",)]
    assert table.report == {
        "rows": 6, "users": 2, "duplicates": 2, "empty": 1, "distribution": {"folk": 1, "jazz": 1, "rock": 1},
    }  # fmt: skip
    random.Random(1).shuffle(rows)
    again = read_labels(write("user_id,genre,time\n" + "\n".join(rows), "again.csv"))
    assert again.sha256 == table.sha256


CONFLICTS = {
    "two answers": (HEAD + "a,F\nb,M\na,M\n", "lines 2 and 4; keep one gender a user"),
    "two times": ("user_id,x,time\na,1,5\na,1,6\na,1,5\n", "lines 2 and 3; keep one x a user"),
    "many": (HEAD + "".join(f"u,{at}\n" for at in range(99)), "2 and 3, 2 and 4, 2 and 5 and 95 more pairs;"),
}  # fmt: skip


@pytest.mark.parametrize("conflict", CONFLICTS)
def test_rows_that_cannot_both_be_the_only_answer_are_named(
    write: Callable[..., Path], conflict: str
) -> None:
    content, words = CONFLICTS[conflict]
    told = read_labels(write(content, "labels.csv")).conflict
    assert told is not None
    assert "labels.csv says different things about one user" in told
    assert words in told


BROKEN = {
    "no label column": ("user_id,timestamp\na,1\n", ["--column NAME", "user_id, timestamp"]),
    "several columns": ("user_id,age,job,time\na,1,x,5\n", ["--column NAME", "age, job"]),
    "no user column": ("name,gender\na,F\n", ["no column user_id", "only name, gender", "that name"]),
    "header only": (HEAD, ["no rows"]),
    "no labels": (HEAD + "a,\nb,\n", ["nothing in column gender"]),
    "no user": (HEAD + "a,F\n,M\n", ["line 3", "column user_id"]),
    "too many": (HEAD + "a,F\nb,M,9\n", ["line 3", "3 fields"]),
    "too few": (HEAD + "a,F\nb\n", ["line 3", "1 field "]),
    "semicolons": ("user_id;gender\na;F\n", ["semicolons"]),
    "blanks in id": (HEAD + "a,F\nb ,F\n", ["line 3", "'b '"]),
    "blanks in label": (HEAD + "a,F\nb,F\nc, F\n", ["line 4", "' F'"]),
    "not NFC": (HEAD + "cafe\u0301,F\n", ["line 2", "NFC"]),
    "NaN": (HEAD + "a,1\nb,2\nc,NaN\n", ["line 4", "'NaN'"]),
    "infinite": (HEAD + "a,1\nb,-INF\n", ["line 3", "'-INF'"]),
    "beyond a double": (HEAD + "a,1\nb,1e400\n", ["line 3", "'1e400'"]),
    "null": (HEAD + "a,F\nb,Null\n", ["line 3", "'Null'"]),
    "no time": ("user_id,x,time\na,1,5\nb,1,\n", ["line 3", "''", "time"]),
    "no time at all": ("user_id,x,time\na,1,soon\nb,1,5\n", ["line 2", "'soon'"]),
    "NUL": (HEAD + "a,F\nb,\0\n", ["line 3", "NUL"]),
    "UTF-16": ((HEAD + "a,F\n").encode("utf-16-le"), ["NUL", "UTF-16"]),
    "Latin-1": (HEAD.encode() + b"a,F\nb,\xe9\n", ["byte 21", "iconv"]),
    "open quote": (HEAD + 'a,F\n"b,F\n', ["line 3", "quotes"]),
}  # fmt: skip


@pytest.mark.parametrize("fault", BROKEN)
def test_broken_labels_are_refused_in_one_sentence(write: Callable[..., Path], fault: str) -> None:
    content, words = BROKEN[fault]
    with pytest.raises(InputError) as caught:
        read_labels(write(content, "labels.csv"))
    message = str(caught.value)
    assert "labels.csv" in message
    assert "\n" not in message
    assert [word for word in words if word not in message] == []


def test_a_wanted_column_must_be_there(write: Callable[..., Path]) -> None:
    with pytest.raises(InputError, match=r"no column sex, only user_id, gender; .* --column NAME"):
        read_labels(write(HEAD + "a,F\n"), "sex")


def test_a_very_long_label_is_a_label(write: Callable[..., Path]) -> None:
    assert labels(write(f"{HEAD}a,{'x' * 200_000}\nb,F\n"))[0] == ("a", "x" * 200_000)


EVENTS = "user_id,item_id,timestamp\na,i,1\nb,i,2\nB,i,3\n"


def test_labels_find_their_users(write: Callable[..., Path], log_of: Callable[..., EventLog]) -> None:
    table = read_labels(write(HEAD + "b,F\nx,M\na,F\nB,M\n", "labels.csv"))
    rows, kept, report = match(table, log_of(write(EVENTS)))
    assert rows.tolist() == [2, 1, 0]
    assert kept.tolist() == [0, 2, 3]
    assert report == {"users": 4, "without_events": 1}


def test_labels_of_strangers_are_refused(write: Callable[..., Path], log_of: Callable[..., EventLog]) -> None:
    log = log_of(write(EVENTS))
    assert len(match(read_labels(write(HEAD + "a,F\nx,M\n")), log)[0]) == 1  # half is allowed
    with pytest.raises(InputError, match="2 of the 3 users with a gender have no events, 'A' for one"):
        match(read_labels(write(HEAD + "a,F\nA,M\nx,M\n")), log)


def test_times_of_another_kind_are_refused(
    write: Callable[..., Path], log_of: Callable[..., EventLog]
) -> None:
    table = read_labels(write("user_id,churn,time\na,1,2024-01-01\n", "labels.csv"))
    with pytest.raises(InputError, match=r"churn labels .* dates"):
        match(table, log_of(write(EVENTS)))
