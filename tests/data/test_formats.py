"""What files must be read whatever their dress, and what must be refused in one sentence."""

import datetime as dt
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from peter.data import formats
from peter.data.event_log import EventLog
from peter.data.events import ImportedEvents
from peter.errors import InputError

ROWS = [("007", "a", 1), ("7", "b", 2), ("NA", "null", 3), ("Émile", 'say "hi", twice', 4)]
PLAIN = 'user_id,item_id,timestamp\n007,a,1\n7,b,2\nNA,null,3\nÉmile,"say ""hi"", twice",4\n'


def events_of(log: EventLog) -> list[tuple[str, str, int]]:
    ids = log.vocabulary.item_ids
    rows = zip(log.offsets, log.offsets[1:], log.user_ids, strict=False)
    return [(user, ids[log.items[at]], int(log.timestamps[at])) for a, b, user in rows for at in range(a, b)]


DRESSES = {
    "plain": PLAIN.encode(),
    "byte order mark": b"\xef\xbb\xbf" + PLAIN.encode(),
    "CRLF": PLAIN.replace("\n", "\r\n").encode(),
    "CR": PLAIN.replace("\n", "\r").encode(),
    "no final newline": PLAIN.rstrip("\n").encode(),
    "blank lines": PLAIN.replace("\n", "\n\n").encode(),
    "all quoted": PLAIN.replace("7,b,2", '"7","b","2"').encode(),
    "other columns": "\n".join(
        f"{line},{'x' if at == 0 else ''}" for at, line in enumerate(PLAIN.splitlines())
    ).encode(),
    "decimal times": PLAIN.replace(",2\n", ",2.0\n").replace(",3\n", ",3e0\n").encode(),
}


@pytest.mark.parametrize("dress", DRESSES)
def test_a_csv_file_is_read_in_any_dress(
    write: Callable[..., Path], log_of: Callable[..., EventLog], dress: str
) -> None:
    assert events_of(log_of(write(DRESSES[dress]))) == ROWS


@pytest.mark.parametrize("ending", ["tsv", "inter", "parquet"])
def test_every_format_gives_the_same_bytes(
    write: Callable[..., Path], make: Callable[..., ImportedEvents], ending: str
) -> None:
    frame = pl.DataFrame(ROWS, schema=["user_id", "item_id", "timestamp"], orient="row")
    path = write("", f"events.{ending}")
    if ending == "parquet":
        frame.write_parquet(path)
    else:
        types = ["token", "token", "float"] if ending == "inter" else None
        frame.columns = (
            [f"{name}:{kind}" for name, kind in zip(frame.columns, types, strict=True)]
            if types
            else frame.columns
        )
        frame.write_csv(path, separator="\t")
    plain, other = make(write(PLAIN)), make(path)
    for name in ("sequences", "users", "items"):
        assert getattr(plain, name).read_bytes() == getattr(other, name).read_bytes()


def test_parquet_ids_may_be_numbers_and_times_may_be_temporal(
    write: Callable[..., Path], make: Callable[..., ImportedEvents], log_of: Callable[..., EventLog]
) -> None:
    path = write("", "events.parquet")
    moment = dt.datetime(2024, 2, 29, 12, 30, 15, 250_000)
    frame = pl.DataFrame({"user_id": [7.0], "item_id": [12], "time": [moment]}).with_columns(
        pl.col("time").cast(pl.Datetime("ns"))
    )
    for times in (
        frame,
        frame.with_columns(pl.col("time").dt.replace_time_zone("UTC").dt.convert_time_zone("Asia/Tokyo")),
    ):
        times.write_parquet(path)
        made = make(path)
        assert made.time_unit == "us"
        assert made.first_at == int(moment.replace(tzinfo=dt.UTC).timestamp() * 1e6)
        assert events_of(log_of(path)) == [("7", "12", made.first_at)]


@pytest.mark.parametrize(
    ("text", "microseconds"),
    [
        ("1970-01-02", 86_400_000_000),
        ("1970-01-01 00:01", 60_000_000),
        ("1970-01-01T00:00:01", 1_000_000),
        ("1970-01-01 00:00:01.5", 1_500_000),
        ("1970-01-01T00:00:01Z", 1_000_000),
        ("1970-01-01T02:00:01.000001+02:00", 1_000_001),
    ],
)
def test_dates_are_microseconds_of_utc(
    write: Callable[..., Path], make: Callable[..., ImportedEvents], text: str, microseconds: int
) -> None:
    made = make(write(f"user_id,item_id,datetime\nu,i,{text}\n"))
    assert (made.first_at, made.time_unit) == (microseconds, "us")


HEAD = "user_id,item_id,timestamp\n"
BROKEN = {
    "header only": (HEAD, ["no rows"]),
    "empty": ("", ["empty"]),
    "no such column": ("u,item_id,timestamp\n1,2,3\n", ["user_id", "u, item_id, timestamp", "--user NAME"]),
    "no time": ("user_id,item_id\n1,2\n", ["timestamp", "--time NAME"]),
    "two of a name": ("user_id,user_id,item_id,timestamp\n1,1,2,3\n", ["two columns called 'user_id'"]),
    "semicolons": ("user_id;item_id;timestamp\n1;2;3\n", ["semicolons", "commas"]),
    "tabs": ("user_id\titem_id\ttimestamp\n1\t2\t3\n", ["tabs", ".tsv"]),
    "too few": (HEAD + "1,2,3\n\n1,2\n", ["line 4", "2 fields", "header has 3"]),
    "too many": (HEAD + "1,2,3\n1,2,3,\n", ["line 3", "4 fields"]),
    "after a long value": (HEAD + '1,"a\nb",3\n1,2\n', ["line 4"]),
    "open quote": (HEAD + '1,2,3\n1,"2,3\n1,2,3\n', ["line 3", "quotes"]),
    "no number": (HEAD + "1,2,3\n1,2,soon\n", ["line 3", "'soon'", "timestamp", "whole number"]),
    "part of a number": (HEAD + "1,2,3\n1,2,3.5\n", ["line 3", "'3.5'"]),
    "infinite": (HEAD + "1,2,3\n1,2,1e400\n", ["line 3", "'1e400'"]),
    "date among numbers": (HEAD + "1,2,3\n1,2,2024-01-01\n", ["line 3", "'2024-01-01'"]),
    "number among dates": (HEAD + "1,2,2024-01-01\n1,2,3\n", ["line 3", "'3'"]),
    "no user": (HEAD + "1,2,3\n,2,3\n", ["line 3", "column user_id"]),
    "no item": (HEAD + '1,2,3\n1,"",3\n', ["line 3", "column item_id"]),
    "all empty": (HEAD + "1,2,3\n,,\n", ["line 3", "column user_id"]),
    "blanks around": (HEAD + "1,2,3\n 1,2,3\n", ["line 3", "' 1'", "blanks"]),
    "not NFC": (HEAD + "1,2,3\n1,cafe\u0301,3\n", ["line 3", "NFC"]),
    "UTF-16": ((HEAD + "1,2,3\n").encode("utf-16"), ["UTF-16", "iconv"]),
    "NUL": (HEAD.encode() + b"1,2,3\n1,\0,3\n", ["line 3", "NUL"]),
    "Latin-1": (HEAD.encode() + b"1,\xe9,3\n", ["byte 28", "iconv -f WINDOWS-1252"]),
    "cut character": (HEAD.encode() + b"1,2,3\n1,2,\xc3", ["byte 36"]),
}  # fmt: skip


@pytest.mark.parametrize("fault", BROKEN)
def test_a_broken_file_is_refused_in_one_sentence(
    write: Callable[..., Path], make: Callable[..., ImportedEvents], fault: str
) -> None:
    content, words = BROKEN[fault]
    with pytest.raises(InputError) as caught:
        make(write(content))
    message = str(caught.value)
    assert "events.csv" in message
    assert "\n" not in message
    assert [word for word in words if word not in message] == []


@pytest.mark.parametrize(
    ("name", "words"), [("missing.csv", "no file"), ("", "folder"), ("events.xlsx", "unknown ending")]
)
def test_a_path_that_is_no_table_is_refused(write: Callable[..., Path], name: str, words: str) -> None:
    folder = write("x", "events.xlsx").parent
    with pytest.raises(InputError, match=words):
        formats.open_table(folder / name)


def test_a_parquet_fault_names_the_row(
    write: Callable[..., Path], make: Callable[..., ImportedEvents]
) -> None:
    path = write("not Parquet", "events.parquet")
    with pytest.raises(InputError, match="no sound Parquet file"):
        make(path)
    frame = pl.DataFrame({"user_id": ["a", None], "item_id": ["i", "i"], "timestamp": [1, 2]})
    frame.write_parquet(path)
    with pytest.raises(InputError, match=r"events\.parquet, row 2 has nothing in column user_id"):
        make(path)
    whole = path.read_bytes()
    path.write_bytes(whole[:4] + b"\xff" * 60 + whole[64:])
    with pytest.raises(InputError, match="no sound Parquet file"):
        make(path)
    frame.with_columns(pl.lit([1]).alias("item_id")).write_parquet(path)
    with pytest.raises(InputError, match="List"):
        make(path)
    frame.clear().write_parquet(path)
    with pytest.raises(InputError, match="no rows"):
        make(path)


def test_a_fault_far_into_a_file_is_found(
    write: Callable[..., Path], make: Callable[..., ImportedEvents]
) -> None:
    lines = [f"u{at % 99},i{at % 7},{at}" for at in range(250_000)]
    lines[-1] = "u1,i1,never"
    with pytest.raises(InputError, match="line 250001: 'never'"):
        make(write(HEAD + "\n".join(lines)))


def test_files_of_different_times_do_not_mix(
    write: Callable[..., Path], make: Callable[..., ImportedEvents]
) -> None:
    numbers = write(HEAD + "1,2,3\n", "numbers.csv")
    with pytest.raises(InputError, match="dates"):
        make(numbers, write(HEAD + "1,2,2024-01-01\n", "dates.csv"))
    with pytest.raises(InputError, match="twice"):
        make(numbers, numbers)


def test_a_file_that_may_not_be_read(
    write: Callable[..., Path], make: Callable[..., ImportedEvents], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(formats.os, "access", lambda path, how: False)  # root may read everything
    with pytest.raises(InputError, match="may not be read by this user; change its permissions"):
        make(write(PLAIN))
