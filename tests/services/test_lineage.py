"""A lineage: tasks that own weights of one pruned backbone, each reading those before it."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save
from small_workspace import PRETRAIN, QUICK, SHAPE, add_task, train_task, url, write_files

from peter.errors import Busy, CorruptObject, InputError
from peter.progress import Silent
from peter.registry import backbones, lineage, patches
from peter.services.backbone import frozen
from peter.services.backbone.backbones import show_backbone
from peter.services.backbone.pretrain import pretrain
from peter.services.event_log.events import import_events
from peter.services.integrity import certificates
from peter.services.integrity.upkeep import remove_task
from peter.services.integrity.verify import verify
from peter.services.patch import patch_objects
from peter.services.profile.profiles import get
from peter.services.promotion.promote import promote, rollback
from peter.services.task.tasks import show_task
from peter.services.transfer.exports import export_patch
from peter.services.transfer.imports import import_patch
from peter.services.version.batch import make_each
from peter.services.version.compare import compare
from peter.services.version.train import Change, following
from peter.services.version.versions import begun, registered, trained
from peter.services.workspace import Workspace


def append(workspace: Workspace, name: str, labels: Path, *settings: str) -> dict[str, Any]:
    """Add a task by the method `prune`; its `report`."""
    return dict(add_task(workspace, name, labels, method="prune", settings=[*QUICK, *settings])["report"])


@pytest.fixture(scope="module")
def grown(pretrained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with a lineage of two tasks, and a task that is none of it."""
    place = tmp_path_factory.mktemp("lineage") / "place"
    shutil.copytree(pretrained, place)
    workspace = Workspace.open(url(place))
    append(workspace, "gender", place / "gender.csv")
    append(workspace, "tier", place / "tier.csv")
    add_task(workspace, "plain", place / "gender.csv")
    workspace.registry.dispose()
    return place


@pytest.fixture
def place(grown: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(grown, tmp_path / "place"))


def golden(workspace: Workspace, *references: str) -> dict[str, str]:
    """The digests of golden outputs, computed from objects freshly read."""
    fresh, found = workspace.objects.fresh(), {}
    for reference in references:
        with workspace.registry.read() as session:
            row = patches.get(session, reference)
        base = frozen.load(workspace, row.backbone)
        found[reference] = certificates.issue(base, patch_objects.load(fresh, row, base).patch)["sha256"]
    return found


def test_the_first_task_derives_a_root_and_the_others_append(workspace: Workspace) -> None:
    root = show_backbone(workspace, "clicks@2")
    assert (root["parent"], root["architecture"]) == (
        "clicks@1",
        show_backbone(workspace, "clicks@1")["architecture"],
    )
    shares = {owner["owner"]: owner["share"] for owner in root["capacity"]["owners"]}
    assert list(shares) == ["clicks@2", "gender@1", "tier@1"]
    assert list(shares.values()) == pytest.approx([0.3, 0.21, 0.147], abs=0.01)
    assert root["capacity"]["free"] == pytest.approx(1 - sum(shares.values()))
    champions = {name: show_task(workspace, name)["champion"] for name in ("gender", "tier", "plain")}
    assert {name: told["backbone"] for name, told in champions.items()} == {
        "gender": "clicks@2", "tier": "clicks@2", "plain": "clicks@1",
    }  # fmt: skip
    with workspace.registry.read() as session:
        assert [read.reference for read in lineage.readers(session, "gender")] == ["tier@1"]
        assert backbones.only(session).reference == backbones.get(session, "clicks").reference == "clicks@1"


def test_a_root_is_its_parent_with_few_weights_trained_on(workspace: Workspace) -> None:
    with workspace.registry.read() as session:
        dense, root = (
            frozen.load(workspace, backbones.get(session, f"clicks@{number}")) for number in (1, 2)
        )
    assert dense.root is None
    assert root.root is not None
    for name, kept in root.root.kept.items():
        was, is_ = dense.body.state_dict()[name], root.body.state_dict()[name]
        assert not is_[~kept].any()
        assert not torch.equal(is_[kept], was[kept])
        assert torch.equal(root.root.freed[name], was[~kept])
        assert was[kept].abs().min() >= was[~kept].abs().max()


def test_the_report_says_what_reading_is_worth(workspace: Workspace) -> None:
    metrics = show_task(workspace, "tier")["champion"]["metrics"]
    assert set(metrics["reads"]) == {"gender@1"}
    assert set(metrics["reads"]["gender@1"]) == set(metrics["test"])
    assert "unread" in metrics["baselines"]
    assert "reads" not in show_task(workspace, "gender")["champion"]["metrics"]


def test_older_answers_stay_bit_for_bit(workspace: Workspace, place: Path) -> None:
    names = ("gender", "tier", "plain")
    before = golden(workspace, *names)
    users = get(workspace, ["007", "7", "u0000009"], live=True)["users"]
    append(workspace, "third", place / "tier.csv", "norms=on", "freed=reinitialised")
    assert golden(workspace, *names) == before
    again = get(workspace, ["007", "7", "u0000009"], live=True)["users"]
    for old, new in zip(users, again, strict=True):
        assert {task: new["tasks"][task]["predicted_probability"] for task in names} == {
            task: old["tasks"][task]["predicted_probability"] for task in names
        }
    assert verify(workspace, quick=False, progress=Silent())["problems"] == []


def test_a_registry_of_all_methods_forgets_nothing(workspace: Workspace, place: Path) -> None:
    """Whoever comes, reads or is read: `peter verify` recomputes everybody's golden outputs."""
    for method in ("experts", "mask"):
        add_task(workspace, method, place / "tier.csv", method=method)
    names = ("gender", "tier", "plain", "experts", "mask")
    before = golden(workspace, *names)
    append(workspace, "third", place / "tier.csv")
    for method in ("experts", "mask"):
        add_task(workspace, f"{method}_too", place / "gender.csv", method=method)
    with workspace.registry.read() as session:
        read = {name: len(patches.get(session, name).reads) for name in ("third", "experts_too", "mask_too")}
    assert read == {"third": 2, "experts_too": 2, "mask_too": 1}
    assert golden(workspace, *names) == before
    checked = verify(workspace, quick=False, progress=Silent())
    assert (checked["problems"], checked["checked"]["champions"]) == ([], 8)


def test_the_same_request_is_the_same_version(workspace: Workspace) -> None:
    """Its reads are a part of it: with another patch before it, another version comes of it."""
    again = train_task(workspace, "plain")
    assert again["report"]["version"] == 1
    with workspace.registry.read() as session:
        tier = patches.get(session, "tier")
    request = following(workspace, tier, Change(twin=False))
    assert [older.reference for older in request.reads] == ["gender@1", "tier@1"]
    assert request.identity != tier.request_sha256


def test_what_is_read_cannot_be_removed(workspace: Workspace) -> None:
    with pytest.raises(InputError, match="Task 'gender' stays: tier@1 read its versions"):
        remove_task(workspace, "gender", force=False)
    remove_task(workspace, "tier", force=False)  # the last of the line: what it owned is free again
    assert show_backbone(workspace, "clicks@2")["capacity"]["free"] == pytest.approx(0.49, abs=0.01)
    remove_task(workspace, "gender", force=False)


def test_who_was_overtaken_registers_nothing(workspace: Workspace, place: Path) -> None:
    with workspace.registry.read() as session:
        tier = patches.get(session, "tier")
    request = following(workspace, tier, Change(seed=5, twin=False))
    made = trained(workspace, request, Silent())
    append(workspace, "third", place / "tier.csv")
    with pytest.raises(Busy, match="appended to the lineage meanwhile"), begun(workspace, request) as run:
        registered(workspace, request, made, run, promote=True)
    assert [version["version"] for version in show_task(workspace, "tier")["versions"]] == [1]


def test_several_at_once_append_in_turn(workspace: Workspace, place: Path) -> None:
    with workspace.registry.read() as session:
        champions = [patches.get(session, name) for name in ("gender", "tier")]
    requests = [following(workspace, champion, Change(seed=5, twin=False)) for champion in champions]
    documents = make_each(workspace, requests, False, None, "again", Silent())
    assert [document["report"]["version"] for document in documents] == [2, 2]
    with workspace.registry.read() as session:
        read = {name: len(patches.get(session, name).reads) for name in ("gender@2", "tier@2")}
    assert read == {"gender@2": 2, "tier@2": 3}
    assert verify(workspace, quick=False, progress=Silent())["problems"] == []


def test_a_full_lineage_refuses_before_anything_is_trained(workspace: Workspace, place: Path) -> None:
    append(workspace, "greedy", place / "tier.csv", "pruned=0")
    with pytest.raises(InputError, match=r"Only 0\.0% of the lineage's weights are free"):
        append(workspace, "more", place / "tier.csv")


def test_who_owns_nothing_does_not_append(workspace: Workspace, place: Path) -> None:
    with pytest.raises(InputError, match=r"prune with deep=off owns nothing of a backbone; give --method"):
        append(workspace, "wide", place / "tier.csv", "deep=off")
    with pytest.raises(InputError, match="deep=off owns nothing"):
        train_task(workspace, "tier", settings=["deep=off"])


def test_a_patch_exported_whole_answers_alone(workspace: Workspace, place: Path) -> None:
    with pytest.raises(InputError, match=r"tier@1 reads other patches .* --whole"):
        export_patch(workspace, "tier", place / "out", with_labels=False)
    export_patch(workspace, "tier", place / "out", with_labels=True, whole=True)
    import_patch(workspace, place / "out", "alone", None, False)
    digests = golden(workspace, "tier", "alone")
    assert digests["tier"] == digests["alone"]
    assert show_task(workspace, "alone")["champion"]["method"] == "last"
    with workspace.registry.read() as session:
        assert patches.get(session, "alone").reads == []
    remove_task(workspace, "tier", force=False)
    assert golden(workspace, "alone")["alone"] == digests["tier"]


def test_what_reads_nothing_is_whole_as_it_is(workspace: Workspace, place: Path) -> None:
    told = [
        export_patch(workspace, "plain", place / name, False, whole)
        for name, whole in (("a", True), ("b", False))
    ]
    assert told[0]["files"] == told[1]["files"]


def test_a_swapped_older_patch_is_noticed(workspace: Workspace) -> None:
    with workspace.registry.read() as session:
        gender, tier = patches.get(session, "gender"), patches.get(session, "tier")
    tensors = load_file(workspace.objects.path(gender.weights_sha256))
    place = next(
        name for name, tensor in tensors.items() if "trunk.values." in name and tensor.is_floating_point()
    )
    other = workspace.objects.put_bytes(save({**tensors, place: tensors[place] + 1}))
    tier.config["reads"][0]["sha256"] = other
    with pytest.raises(CorruptObject, match=r"tier@1 was made to read other patches .* `peter verify`"):
        patch_objects.load(workspace.objects, tier, frozen.load(workspace, tier.backbone))


def test_the_method_is_compared_where_there_is_a_root(workspace: Workspace) -> None:
    told = compare(workspace, "tier", ["prune", "bag"], ["epochs=1"], None, 1, None, Silent())
    assert [row["method"] for row in told["methods"]] == ["prune", "bag", "majority"]
    with pytest.raises(InputError, match="derives one"):
        compare(workspace, "plain", ["prune"], [], None, 1, None, Silent())


def test_a_task_goes_back_to_what_it_was(workspace: Workspace) -> None:
    with workspace.registry.read() as session:
        plain = patches.get(session, "plain")
    train_task(workspace, "plain", method="prune", settings=QUICK)
    promote(workspace, "plain@2", False, "to try")
    assert show_task(workspace, "plain")["champion"]["backbone"] == "clicks@2"
    assert rollback(workspace, "plain", False)["champion"]["version"] == plain.version
    assert verify(workspace, quick=False, progress=Silent())["problems"] == []


def test_a_lineage_on_postgresql(postgres_url: str, tmp_path: Path) -> None:
    write_files(tmp_path)
    workspace = Workspace.create(postgres_url, tmp_path / "store")
    import_events(workspace, [tmp_path / "events.csv"], "clicks", None, None, None, 1, 1, Silent())
    pretrain(workspace, "clicks", "clicks", SHAPE, PRETRAIN, Silent())
    append(workspace, "gender", tmp_path / "gender.csv")
    before = golden(workspace, "gender")
    append(workspace, "tier", tmp_path / "tier.csv")
    assert golden(workspace, "gender") == before
    with pytest.raises(InputError, match="tier@1 read its versions"):
        remove_task(workspace, "gender", force=False)
    assert verify(workspace, quick=False, progress=Silent())["problems"] == []
    workspace.registry.dispose()
