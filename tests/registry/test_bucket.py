"""The store in a bucket, on a real server: bad copies, uploads that fail, addresses that cannot be used."""

import hashlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from peter.errors import CorruptObject, InputError, PeterError
from peter.registry import bucket
from peter.registry.bucket import BucketStore, cache_directory
from peter.registry.guards import FileGuard
from peter.registry.objects import place

DATA = b"weights" * 1000
NAME = hashlib.sha256(DATA).hexdigest()
FREE = FileGuard(Path("/nowhere"), 0)  # for stores that nobody else uses


def test_copies_that_are_gone_are_fetched_again(in_bucket: Any) -> None:
    store = in_bucket.open()
    store.put_bytes(DATA)
    copy = store.path(NAME)
    copy.unlink()
    assert store.path(NAME) == copy
    copy.unlink()
    assert store.read(NAME) == DATA
    assert copy.stat().st_mode & 0o777 == 0o444
    assert list((store.root / "tmp").iterdir()) == []


@pytest.mark.parametrize("bad", [b"", DATA[:100], DATA[:-1] + b"!"], ids=["empty", "cut short", "changed"])
def test_a_bad_copy_is_replaced(in_bucket: Any, bad: bytes) -> None:
    store = in_bucket.open()
    copy = store.put_bytes(DATA) and store.path(NAME)
    for use in (store.fresh().path, store.read):
        copy.chmod(0o644)
        copy.write_bytes(bad)
        use(NAME)
        assert copy.read_bytes() == DATA


def test_a_bad_download_is_not_kept(in_bucket: Any) -> None:
    in_bucket.open().put_bytes(DATA)
    in_bucket.write(NAME, DATA[:-1])
    other = in_bucket.open()
    with pytest.raises(CorruptObject, match=f"some/prefix/objects/../{NAME} no longer hashes"):
        other.path(NAME)
    assert [path for path in other.root.rglob("*") if path.is_file()] == [other.root / "gc.lock"]


def test_the_server_s_own_bytes_are_verified(in_bucket: Any) -> None:
    store = in_bucket.open()
    store.put_bytes(DATA)
    store.verify(NAME)
    in_bucket.write(NAME, DATA[:-1] + b"!")
    with pytest.raises(CorruptObject):
        store.verify(NAME)
    assert store.fresh().read(NAME) == DATA  # this machine's copy is good


def test_an_object_goes_and_comes_in_pieces(in_bucket: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bucket, "_CHUNK", 7 << 20)
    data = bytes(range(256)) * (90 << 10)  # 22.5 MB: three parts of an upload
    name = in_bucket.open().put_bytes(data)
    other = in_bucket.open()
    other.verify(name)
    assert other.read(name) == data


def test_an_upload_that_fails_leaves_what_was_there(in_bucket: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: Any) -> Callable[[], bytes]:
        parts = iter([b"half of it"])

        def read() -> bytes:
            for part in parts:
                return part
            raise KeyboardInterrupt

        return read

    store, other = in_bucket.open(), in_bucket.open()
    store.put_bytes(DATA)
    monkeypatch.setattr(bucket, "partial", interrupted)
    for data in (DATA, b"new"):
        with pytest.raises(KeyboardInterrupt):
            store.put_bytes(data)
    assert list(other.sizes()) == [NAME]
    assert other.read(NAME) == DATA


def test_a_collector_beside_writers_takes_nothing_that_is_referred_to(in_bucket: Any) -> None:
    referred: list[str] = []
    collector = in_bucket.open()

    def put_and_refer(worker: int) -> None:
        store = in_bucket.open()
        for turn in range(5):
            with store.holding():
                referred.append(store.put_bytes(f"{worker} {turn}".encode()))

    with ThreadPoolExecutor(2) as pool:
        working = [pool.submit(put_and_refer, worker) for worker in range(2)]
        while not all(future.done() for future in working):
            assert collector.collect(lambda: list(referred)) == {}
    assert sorted(referred) == list(collector.sizes())
    assert [future.exception() for future in working] == [None, None]


def test_a_directory_copied_to_a_bucket_is_the_same_store(in_directory: Any, in_bucket: Any) -> None:
    in_directory.open().put_bytes(DATA)
    in_bucket.write(NAME, (in_directory.root / place(NAME)).read_bytes())
    assert list(in_bucket.open().sizes()) == [NAME]
    assert in_bucket.open().read(NAME) == DATA


def test_a_server_that_is_gone_is_one_sentence(own_buckets: Any, tmp_path: Path) -> None:
    buckets, stop = own_buckets
    store = BucketStore(buckets.create(), tmp_path / "copies", FREE)
    name = store.put_bytes(DATA)
    stop()
    assert store.read(name) == DATA
    with pytest.raises(PeterError, match=r"^The store s3://bucket-1/some/prefix failed \(.*\); run") as told:
        store.put_bytes(b"new")
    assert (told.value.exit_code, "cret" in str(told.value)) == (1, False)


class TestAddresses:
    @pytest.mark.parametrize(
        ("url", "sentence"),
        [
            ("ftp://host/x", "ftp:// cannot hold a store; give --store DIR, s3://BUCKET"),
            ("s3://", "no bucket ''"),
            ("s3:///x", "cannot be read; write s3://BUCKET/PREFIX"),
            ("s3://key:se cret@bucket/x", "cannot be read"),
            ("s3://key:se/cret@bucket/x", "cannot be read"),
            ("s3://key:[cret@bucket/x", "cannot be read"),
            ("s3://key:secret@bucket/x?nonsense=1", "cannot be read"),
        ],
    )
    def test_what_cannot_be_used_is_told_without_its_keys(
        self, tmp_path: Path, url: str, sentence: str
    ) -> None:
        with pytest.raises(InputError) as told:
            BucketStore(url, tmp_path / "copies", FREE)
        assert sentence in str(told.value)
        assert "cret" not in str(told.value)
        assert told.value.__suppress_context__ or told.value.__context__ is None
        assert list(tmp_path.iterdir()) == []

    def test_google_s_server_that_cannot_be_reached_is_told_soon(self, tmp_path: Path) -> None:
        gone = "gs://anonymous@bucket/x?endpoint_override=127.0.0.1:9&scheme=http&retry_limit_seconds=1"
        with pytest.raises(InputError, match=r"cannot be used \(.*\); check its URL"):
            BucketStore(gone, tmp_path, FREE)
        assert bucket._hurried("gs://bucket/x").endswith("x?retry_limit_seconds=30")
        assert bucket._hurried(gone) == gone

    def test_a_bucket_that_is_not_there_is_told(self, buckets: Any, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="There is no bucket 'nobody-s'"):
            BucketStore(buckets.url("nobody-s/x"), tmp_path, FREE)

    def test_neither_printing_nor_copies_hang_on_the_key(
        self, buckets: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        url = buckets.create()
        assert str(BucketStore(url, tmp_path, FREE)) == f"s3://{url.partition('@')[2].partition('?')[0]}"
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
        copies = cache_directory("s3://key:secret@bucket/x")
        assert copies.parent == tmp_path / "peter"
        assert copies == cache_directory("s3://other:ke/y@bucket/x/") == cache_directory("s3://bucket/x")
        assert len({copies, cache_directory("s3://bucket/y"), cache_directory("s3://other/x")}) == 3
        monkeypatch.setenv("PETER_CACHE", "/mnt/scratch")
        assert cache_directory("s3://key:secret@bucket/x") == Path("/mnt/scratch", copies.name)

    def test_the_environment_says_what_the_url_does_not(
        self, buckets: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        key, secret = buckets.KEYS
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{buckets.address}")
        monkeypatch.setenv("AWS_REGION", "us-east-1")
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", key)
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", secret)
        name = buckets.create().partition("@")[2].partition("/")[0]
        store = BucketStore(f"s3://{name}", tmp_path, FREE)
        assert list(store.sizes()) == []
        store.put_bytes(DATA)
        assert list(store.sizes()) == [NAME]
