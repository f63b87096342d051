"""Every object store: durable before it is named, checked before it is used, healed when put again."""

import errno
import hashlib
import multiprocessing
import os
from pathlib import Path
from typing import Any

import pytest

from peter.errors import Busy, CorruptObject, PeterError
from peter.registry import directory
from peter.registry.directory import DirectoryStore
from peter.registry.objects import ObjectStore, place

# Forked children only use the registry and the store, never the threads of libraries that other tests loaded.
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")

DATA = b"weights" * 1000
NAME = hashlib.sha256(DATA).hexdigest()


def test_an_object_is_named_by_its_bytes_and_read_only(store: ObjectStore) -> None:
    assert store.put_bytes(DATA) == NAME
    assert store.read(NAME) == DATA
    assert store.path(NAME).read_bytes() == DATA
    assert store.path(NAME).stat().st_mode & 0o777 == 0o444
    assert list(store.sizes()) == [NAME]
    assert store.exists(NAME)
    assert list((store.root / "tmp").iterdir()) == []


def test_a_file_from_a_workspace_becomes_an_object(store: ObjectStore) -> None:
    with store.workspace() as directory:
        (directory / "model.safetensors").write_bytes(DATA)
        assert store.put_file(directory / "model.safetensors") == NAME
        assert not (directory / "model.safetensors").exists()
        (directory / "again").write_bytes(DATA)
        assert store.put_file(directory / "again") == NAME
    assert not directory.exists()
    assert store.read(NAME) == DATA


def test_nothing_is_named_before_it_is_durable(in_directory: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    store = in_directory.open()
    order: list[str] = []
    names: dict[int, str] = {}
    open_, fsync, write, replace = os.open, os.fsync, os.write, os.replace

    def note_open(path: Any, *rest: Any, **named: Any) -> int:
        handle = open_(path, *rest, **named)
        names[handle] = "directory" if Path(path).is_dir() else "file"
        return handle

    def note(step: str, call: Any) -> Any:
        def noted(*arguments: Any) -> Any:
            order.append(f"{step} {names[arguments[0]]}" if step != "replace" else step)
            return call(*arguments)

        return noted

    monkeypatch.setattr(os, "open", note_open)
    monkeypatch.setattr(os, "write", note("write", lambda handle, data: write(handle, data[:4000])))
    monkeypatch.setattr(os, "fsync", note("fsync", fsync))
    monkeypatch.setattr(os, "replace", note("replace", replace))
    store.put_bytes(DATA)
    assert order == [
        "write file",
        "write file",
        "fsync file",
        "replace",
        "fsync directory",
        "fsync directory",
    ]
    assert store.read(NAME) == DATA


def test_a_changed_object_is_refused_and_healed_by_putting_it_again(store: ObjectStore, stored: Any) -> None:
    store.put_bytes(DATA)
    stored.write(NAME, DATA[:-1] + b"!")
    assert store.path(NAME)  # hashed once a process: this one wrote it
    later = stored.open()
    for use in (later.path, later.read, later.verify, store.verify):
        with pytest.raises(CorruptObject, match=rf"{NAME} no longer hashes .*peter verify"):
            use(NAME)
    assert later.put_bytes(DATA) == NAME
    later.verify(NAME)
    assert later.path(NAME).read_bytes() == DATA


def test_a_file_found_changed_is_not_trusted_again(in_directory: Any) -> None:
    store = in_directory.open()
    store.put_bytes(DATA)
    in_directory.write(NAME, DATA[:-1] + b"!")
    for use in (store.verify, store.path):
        with pytest.raises(CorruptObject):
            use(NAME)
    store.put_bytes(DATA)
    in_directory.write(NAME, b"")
    assert store.path(NAME)
    with pytest.raises(CorruptObject):
        store.fresh().path(NAME)


def test_what_the_disk_cannot_give_back_is_damaged(
    in_directory: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: Path) -> str:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    in_directory.open().put_bytes(DATA)
    monkeypatch.setattr(directory, "hashed", refuse)
    with pytest.raises(CorruptObject, match=f"{NAME} no longer hashes"):
        in_directory.open().path(NAME)


def test_a_missing_object_is_told(store: ObjectStore, stored: Any) -> None:
    store.put_bytes(DATA)
    stored.remove(NAME)
    assert not store.exists(NAME)
    later = stored.open()
    for use in (later.path, later.read, later.verify):
        with pytest.raises(CorruptObject, match=f"{NAME} is missing from"):
            use(NAME)


@pytest.mark.parametrize("name", ["../../etc/passwd", "ab", NAME.upper(), f"{NAME}\n"])
def test_a_name_that_is_no_hash_opens_nothing(store: ObjectStore, name: str) -> None:
    with pytest.raises(CorruptObject, match="not the name of an object"):
        store.path(name)


@pytest.mark.parametrize(("code", "advice"), [(errno.ENOSPC, "free some space"), (errno.EROFS, "read-only")])
def test_a_full_or_read_only_disk_is_one_sentence(
    store: ObjectStore, monkeypatch: pytest.MonkeyPatch, code: int, advice: str
) -> None:
    def refuse(*_: Any) -> int:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "write", refuse)
    with pytest.raises(PeterError, match=advice):
        store.put_bytes(DATA)
    monkeypatch.undo()
    assert list(store.sizes()) == []
    assert list((store.root / "tmp").iterdir()) == []


def test_collecting_keeps_what_is_live_and_waits_for_writers(store: ObjectStore, stored: Any) -> None:
    kept, lost = store.put_bytes(b"kept"), store.put_bytes(b"lost")
    hasty = stored.open(deadline=0.05)
    with store.holding(), pytest.raises(Busy):
        hasty.collect(lambda: [kept])
    assert hasty.collect(lambda: [kept, NAME], dry=True) == {lost: 4}
    assert sorted(store.sizes()) == sorted([kept, lost])
    assert hasty.collect(lambda: [kept, NAME]) == {lost: 4}
    assert list(store.sizes()) == [kept]
    with pytest.raises(CorruptObject, match="missing"):
        hasty.read(lost)


@pytest.mark.parametrize("bad", [DATA[:-1] + b"!", b"", None], ids=["changed", "emptied", "gone"])
def test_mending_moves_bad_bytes_aside_and_nothing_else(
    store: ObjectStore, stored: Any, bad: bytes | None
) -> None:
    store.put_bytes(DATA)
    stored.remove(NAME) if bad is None else stored.write(NAME, bad)
    with store.workspace() as directory:
        (directory / "wrong").write_bytes(b"wrong")
        with pytest.raises(CorruptObject):
            stored.open().mend(NAME, directory / "wrong")
    store.mend(NAME, None)
    assert not store.exists(NAME)
    assert stored.aside() == ([] if bad is None else [bad])
    with store.workspace() as directory:
        (directory / "good").write_bytes(DATA)
        store.mend(NAME, directory / "good")
    assert stored.open().read(NAME) == DATA
    store.mend(NAME, None)  # it is whole: as where a writer has put it back meanwhile
    assert stored.open().read(NAME) == DATA
    assert stored.aside() == ([] if bad is None else [bad])
    store.collect(lambda: [NAME])
    assert stored.aside() == ([] if bad is None else [bad])


def test_mending_waits_for_writers(store: ObjectStore, stored: Any) -> None:
    store.put_bytes(DATA)
    stored.write(NAME, b"")
    hasty = stored.open(deadline=0.05)
    with store.holding(), pytest.raises(Busy):
        hasty.mend(NAME, None)
    assert store.sizes() == {NAME: 0}


def test_a_file_that_is_no_object_is_nobody_s_business(in_directory: Any) -> None:
    store = in_directory.open()
    store.put_bytes(DATA)
    for name in (f"{NAME}.part", "0" * 64):
        (store.root / place(NAME)).with_name(name).touch()
    assert store.collect(list) == {NAME: len(DATA)}
    assert len(list((store.root / place(NAME)).parent.iterdir())) == 2


def test_collecting_sweeps_workspaces_of_the_dead_only(store: ObjectStore) -> None:
    def die_at_work() -> None:
        with store.workspace() as directory:
            (directory / "half").write_bytes(DATA)
            os._exit(9)

    dead = multiprocessing.get_context("fork").Process(target=die_at_work)
    dead.start()
    dead.join()
    with store.workspace() as mine:
        assert len(list((store.root / "tmp").iterdir())) == 2
        store.collect(list)
        assert list((store.root / "tmp").iterdir()) == [mine]


def _put_and_refer(store: DirectoryStore, worker: int) -> None:
    for turn in range(20):
        with store.holding():
            name = store.put_bytes(f"{worker} {turn}".encode())
            (store.root.parent / f"refers-to-{name}").touch()


def test_a_collector_beside_writers_takes_nothing_that_is_referred_to(in_directory: Any) -> None:
    store = in_directory.open()
    fork = multiprocessing.get_context("fork")
    writers = [fork.Process(target=_put_and_refer, args=(store, worker)) for worker in range(3)]
    for writer in writers:
        writer.start()

    def live() -> list[str]:
        return [path.name.removeprefix("refers-to-") for path in store.root.parent.glob("refers-to-*")]

    while any(writer.is_alive() for writer in writers):
        assert store.collect(live) == {}
    assert [writer.exitcode for writer in writers] == [0] * 3
    assert sorted(live()) == list(store.sizes())
    assert len(live()) == 60
