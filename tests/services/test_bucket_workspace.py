"""A workspace whose store is a bucket on a real server, as one machine and as two see it."""

import shutil
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest
from pyarrow.fs import FileSelector, copy_files
from small_workspace import add_task, table_rows, url

from peter.errors import InputError, PeterError
from peter.progress import Silent
from peter.registry import backbones
from peter.services.event_log.events import import_events
from peter.services.integrity.verify import verify
from peter.services.profile.profiles import get
from peter.services.workspace import Address, Workspace


def move(directory: Path, files: Any, store: str) -> None:
    """Copy the directory's store into the bucket, as any program that copies files would."""
    objects = directory / ".peter" / "store" / "objects"
    place = store.partition("@")[2].partition("?")[0]
    copy_files(str(objects), f"{place}/objects", destination_filesystem=files)


@pytest.fixture
def machines(pretrained: Path, buckets: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A function that opens the workspace of one registry and one bucket on another machine each time."""
    shutil.copytree(pretrained, tmp_path, dirs_exist_ok=True)
    store = buckets.create()
    move(tmp_path, buckets.files, store)
    shutil.rmtree(tmp_path / ".peter" / "store")
    opened = []

    def another() -> Workspace:
        monkeypatch.setenv("PETER_CACHE", str(tmp_path / f"copies-{len(opened)}"))
        opened.append(Workspace.open(url(tmp_path), store))
        return opened[-1]

    yield another
    for workspace in opened:
        workspace.registry.dispose()


def test_what_one_machine_adds_another_answers_with_bit_for_bit(machines: Any, tmp_path: Path) -> None:
    here, there = machines(), machines()
    assert here.root != there.root
    add_task(here, "gender", tmp_path / "gender.csv")
    assert (list(there.root.iterdir()), there.root.stat().st_mode & 0o777) == ([], 0o700)
    answers = [get(workspace, ["007", "u0000009"], live=True) for workspace in (here, there)]
    for told in answers:
        del told["users"][0]["tasks"]["gender"]["as_of"], told["users"][1]["tasks"]["gender"]["as_of"]
    assert answers[0] == answers[1]
    assert verify(there, quick=False, progress=Silent())["problems"] == []


def test_another_process_is_told_all_it_needs_and_prints_none_of_it(machines: Any, buckets: Any) -> None:
    workspace = machines()
    address = Address.of(workspace)
    again = address.open()
    assert again is Address.of(again).open()
    assert list(again.objects.sizes()) == list(workspace.objects.sizes())
    assert "cret" not in f"{address} {address!r} {again}"
    again.registry.dispose()


def test_a_server_that_goes_away_leaves_the_registry_as_it_was(
    own_buckets: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    buckets, stop = own_buckets
    monkeypatch.setenv("PETER_CACHE", str(tmp_path / "copies"))
    workspace = Workspace.create(url(tmp_path), buckets.create())
    before = table_rows(workspace.registry)
    events = tmp_path / "events.csv"
    events.write_text("user_id,item_id,timestamp\n" + "".join(f"u{n % 3},i{n},{n}\n" for n in range(30)))
    stop()
    with pytest.raises(PeterError, match="The store s3://bucket-1/some/prefix failed"):
        import_events(workspace, [events], "clicks", None, None, None, 1, 1, Silent())
    assert table_rows(workspace.registry) == before
    workspace.registry.dispose()


def test_keys_that_are_refused_are_told_before_anything_is_made(own_buckets: Any, tmp_path: Path) -> None:
    buckets, _ = own_buckets
    buckets.create()
    # the server lets everybody do everything until it is told how many more requests that is to be so
    headers = {"Content-Type": "text/plain"}
    urlopen(Request(f"http://{buckets.address}/moto-api/reset-auth", b"0", headers)).close()
    with pytest.raises(InputError, match=r"--store cannot be used \(.*\); check its URL.* keys") as told:
        Workspace.create(url(tmp_path), buckets.url("bucket-1/x", ("stranger", "sesame")))
    assert "sesame" not in str(told.value)
    assert list(tmp_path.iterdir()) == []


def test_a_file_url_is_a_directory(tmp_path: Path) -> None:
    workspace = Workspace.create(url(tmp_path), f"file://{tmp_path}/a%20store")
    assert workspace.root == tmp_path / "a store"
    assert workspace.root.is_dir()
    workspace.registry.dispose()


def test_a_damaged_object_in_the_bucket_is_found(machines: Any, buckets: Any, tmp_path: Path) -> None:
    workspace = machines()
    with workspace.registry.read() as session:
        sha256 = backbones.get(session, "clicks").weights_sha256
    workspace.objects.path(sha256)
    place = str(workspace.objects).removeprefix("s3://")
    with buckets.files.open_output_stream(f"{place}/objects/{sha256[:2]}/{sha256}") as stream:
        stream.write(b"damaged")
    (problem,) = verify(workspace, quick=False, progress=Silent())["problems"]
    assert f"{workspace.objects}/objects/{sha256[:2]}/{sha256} no longer hashes" in problem
    healed = verify(workspace, quick=False, progress=Silent(), copies=[])
    assert (healed["repaired"], healed["problems"]) == (
        [f"Object {sha256} was put back from {workspace.objects}."],  # this machine's copy was good
        [],
    )
    assert verify(machines(), quick=False, progress=Silent())["problems"] == []
    (aside,) = buckets.files.get_file_info(FileSelector(f"{place}/quarantine"))
    assert buckets.files.open_input_stream(aside.path).read() == b"damaged"
