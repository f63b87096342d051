"""Items by what is known of them, as a user goes the whole way: from a table to answers for newer items."""

import sys
from pathlib import Path
from typing import Any

import pytest
from small_workspace import LATER, everything, write_files, write_items

from peter.data import encodings

SMALL = ["--channels", "8", "--blocks", "2", "--epochs", "2", "--set", "max_length=20", "--set", "threads=1"]
PRETRAIN = ["backbone", "pretrain", "shop", "--objective", "item-feature", "--set", "experts=2", *SMALL]
ADD = ["--no-twin", "--set", "epochs=1", "--set", "threads=1", "--json"]


@pytest.fixture
def shop(peter, tmp_path: Path) -> Path:
    """A directory whose registry has the event log shop, with a table of items."""
    write_files(tmp_path)
    write_items(tmp_path / "items.csv")
    peter("init")
    done = peter("data", "import", "events.csv", "--name", "shop", "--items", "items.csv", "--json")
    assert done.json["report"]["items"]["described"] == 38
    return tmp_path


def known(card: dict[str, Any]) -> dict[str, int]:
    """task -> how many events of a user it knows."""
    return {task: answer["known"] for task, answer in card["tasks"].items()}


def test_newer_items_are_answered_for_by_what_is_known_of_them(peter, shop: Path) -> None:
    made = peter(*PRETRAIN, "--json").json
    assert (made["objective"], made["config"]["experts"]) == ("item-feature", 2)
    assert (made["features"]["number"], made["features"]["vector0"]) == (encodings.BUMPS, 3)
    page = " ".join(peter("backbone", "show", "shop").out.split())
    assert "features number (16 numbers), text (" in page
    for method in ("relearn", "bag"):
        done = peter("task", "add", f"by_{method}", "--labels", "gender.csv", "--method", method, *ADD)
        assert done.code == 0, done.err
    (shop / "novel.csv").write_text("item_id,title,price,image\nnovel,taste1 thing2,,\n")
    grown = peter("data", "append", "shop", "later.csv", "--items", "novel.csv", "--json").json
    (told,) = grown["coverage"]
    assert (told["backbone"], told["tasks"], told["features"]) == ("shop@1", ["by_bag", "by_relearn"], True)
    assert told["known"] == grown["events"]
    (zoe,) = peter("profile", "get", "zoe", "--json").json["users"]
    assert known(zoe) == {"by_relearn": len(LATER["zoe"]), "by_bag": len(LATER["zoe"]) - 1}
    assert peter("profile", "materialize", "--incremental").code == 0
    assert known(peter("profile", "get", "zoe", "--json").json["users"][0]) == known(zoe)
    assert peter("verify").code == 0
    events = [f"007,unheard{at % 7},{2_000_000_000 + at}" for at in range(400)]
    (shop / "unheard.csv").write_text("\n".join(["user_id,item_id,timestamp", *events]) + "\n")
    cure = "of newer items; say what they are, for which nothing is trained: `peter data append shop --items"
    for words in (("data", "append", "shop", "unheard.csv"), ("profile", "materialize", "--incremental")):
        assert " ".join(peter(*words).out.split()).count(cure) == 1
    rows = [f"unheard{at},taste2 thing3,," for at in range(7)]
    (shop / "novel.csv").write_text("\n".join(["item_id,title,price,image", *rows]) + "\n")
    assert cure not in " ".join(peter("data", "append", "shop", "--items", "novel.csv").out.split())


def test_a_table_that_came_later_serves_a_new_version(peter, place: Path) -> None:
    write_items(place / "items.csv")
    words = [word.replace("shop", "clicks") for word in PRETRAIN]
    refused = peter(*words)
    assert refused.code == 2
    assert "`peter data append NAME --items FILE`" in refused.err
    assert peter("data", "append", "clicks", "--items", "items.csv").code == 0
    made = peter(*words, "--json").json
    assert (made["version"], made["event_log"]) == (2, "clicks@2")
    assert "features" not in peter("backbone", "show", "clicks@1").out


def test_a_table_by_which_no_items_differ_is_refused(peter, shop: Path) -> None:
    rows = [f"i{at:07},{'★' * (at + 1)},1 2" for at in range(40)]
    (shop / "same.csv").write_text("\n".join(["item_id,title:text,image:vector", *rows]) + "\n")
    peter("data", "import", "events.csv", "--name", "shop", "--items", "same.csv")
    before = everything(shop)
    refused = peter(*PRETRAIN)
    assert (refused.code, refused.out, refused.err.count("\n")) == (2, "", 1)
    assert "by which they differ; give it with `peter data append NAME --items FILE`" in refused.err
    assert everything(shop) == before


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([*PRETRAIN, "--no-causal"], "needs a causal backbone; add --causal."),
        ([*PRETRAIN, "--set", "negatives=5"], "leave out negatives."),
        ([*PRETRAIN, "--workers", "2"], "leave out --workers."),
        ([*PRETRAIN, "--set", "text_encoder=bert"], "'text_encoder=bert'"),
        ([*PRETRAIN, "--set", "text_encoder=wordllama"], "type: pip install peter-rec[sentences]"),
        ([*PRETRAIN, "--objective", "item-feature+contrastive"], "give it alone."),
    ],
    ids=lambda value: value[-1] if isinstance(value, list) else None,
)
def test_a_wrong_request_is_one_sentence_and_changes_nothing(
    peter, shop: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], said: str
) -> None:
    encodings._model.cache_clear()
    monkeypatch.setitem(sys.modules, "wordllama", None)  # as if it were not installed
    before = everything(shop)
    refused = peter(*words)
    assert (refused.code, refused.out, refused.err.count("\n")) == (2, "", 1)
    assert said in refused.err
    assert everything(shop) == before


@pytest.mark.parametrize(
    "words",
    [
        ["add", "other", "--labels", "gender.csv", "--method", "relearn", *ADD],
        ["compare", "gender", "--methods", "peter,relearn"],
    ],
    ids=lambda words: words[0],
)
def test_relearning_wants_a_backbone_that_knows_features(peter, place: Path, words: list[str]) -> None:
    before = everything(place)
    refused = peter("task", *words)
    assert (refused.code, refused.out, refused.err.count("\n")) == (2, "", 1)
    assert refused.err.endswith("`peter backbone pretrain DATA --objective item-feature`.\n")
    assert everything(place) == before
