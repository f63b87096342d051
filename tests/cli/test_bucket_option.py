"""A bucket as `--store`, through the command line."""

from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def store(buckets: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URL of a bucket, and directories for copies that are nobody's."""
    monkeypatch.setenv("PETER_CACHE", str(tmp_path / "copies"))
    url: str = buckets.create()
    monkeypatch.setenv("PETER_STORE", url)
    return url


def test_a_workspace_on_a_bucket_is_made_used_verified_and_cleaned(
    peter: Any, store: str, buckets: Any, tmp_path: Path
) -> None:
    place = store.partition("@")[2].partition("?")[0]
    made = peter("init", "--json")
    assert (made.code, made.json["store"]) == (0, f"s3://{place}")
    rows = "".join(f"u{n % 7},i{n % 5},{n}\n" for n in range(70))
    (tmp_path / "events.csv").write_text("user_id,item_id,timestamp\n" + rows)
    assert peter("data", "import", "events.csv", "--name", "clicks").code == 0
    with buckets.files.open_output_stream(f"{place}/objects/{'0' * 2}/{'0' * 64}") as stream:
        stream.write(b"nobody's")
    assert peter("gc", "--json").json == {"removed": 1, "bytes": 8}
    assert peter("gc", "--json").json == {"removed": 0, "bytes": 0}
    told = peter("verify", "--json")
    assert (told.code, told.json["problems"], told.json["checked"]["objects"]) == (0, [], 3)
    assert not (tmp_path / ".peter" / "store").exists()


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("s3://somebody:se/cret@bucket/x", "cannot be read; write s3://BUCKET/PREFIX"),
        (
            "http://somebody:secret@host/x",
            "http:// cannot hold a store; give --store DIR, s3://BUCKET/PREFIX",
        ),
        ("s3://somebody:secret@host/x?endpoint_override=127.0.0.1:9&scheme=http&region=x", "cannot be used"),
        ("file://somewhere/x", "file:// cannot hold a store"),
    ],
)
def test_an_address_that_cannot_be_used_is_one_sentence(
    peter: Any, tmp_path: Path, url: str, sentence: str
) -> None:
    done = peter("init", "--store", url)
    assert (done.code, done.out, done.err.count("\n")) == (2, "", 1)
    assert sentence in done.err
    assert "cret" not in done.err
    assert list(tmp_path.iterdir()) == []


def test_a_bucket_that_is_not_there_is_one_sentence(peter: Any, buckets: Any, tmp_path: Path) -> None:
    done = peter("init", "--store", buckets.url("nobody-s/x"))
    assert (done.code, done.err) == (
        2,
        "There is no bucket 'nobody-s' for --store; make it, or name another.\n",
    )
    assert list(tmp_path.iterdir()) == []
