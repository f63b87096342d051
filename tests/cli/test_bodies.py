"""Other bodies and other objectives, as a user asks for them."""

from pathlib import Path
from typing import Any

import pytest

from peter.cli.backbone import _remedies
from peter.training import collapse

SMALL = ["--channels", "8", "--blocks", "2", "--epochs", "2", "--set", "max_length=20", "--set", "threads=1"]
VIEWS = ["--architecture", "sasrec", "--objective", "next-item+contrastive", "--set", "heads=2", *SMALL]


@pytest.fixture
def views(peter, place: Path) -> dict[str, Any]:
    """What was told of a Transformer that learnt from views, too."""
    done = peter("backbone", "pretrain", "clicks", "--name", "views", *VIEWS, "--json")
    assert done.code == 0, done.err
    document: dict[str, Any] = done.json
    return document


def test_views_and_attention_are_told_and_the_head_is_gone(peter, views: dict[str, Any]) -> None:
    assert views["objective"] == "next-item+contrastive"
    assert views["architecture"]["architecture"] == "sasrec"
    assert views["architecture"]["heads"] == 2
    assert views["params"] == 44 * 8 + 20 * 8 + 2 * (6 * 8 * 8 + 10 * 8) + 2 * 8
    assert {"loss", "hit@5", "deviation", "rank"} <= set(views["metrics"]["valid"])
    again = peter("backbone", "pretrain", "clicks", "--name", "views", *VIEWS, "--json")
    assert again.json == views
    page = peter("backbone", "pretrain", "clicks", "--name", "views", *VIEWS).out
    assert page.endswith("Next: peter task add NAME --labels FILE --backbone views@1\n")
    shown = peter("backbone", "show", "views")
    assert "deviation" in shown.out
    assert "sasrec" in shown.out
    assert "kernel" not in shown.out
    assert "kernel 3, dilations 1, 4" in " ".join(peter("backbone", "show", "clicks").out.split())


def test_what_was_asked_for_before_there_was_a_choice_is_the_same_request(peter, views) -> None:
    """clicks@1 was made with the defaults, which its row does not name."""
    shown = peter("backbone", "show", "clicks", "--json").json
    assert shown["architecture"]["architecture"] == "nextitnet"
    assert "heads" not in shown["architecture"]
    assert "dropout" not in shown["config"]
    same = peter("backbone", "pretrain", "clicks", "--architecture", "nextitnet", *SMALL, "--json")
    assert same.json["version"] == 1


@pytest.mark.parametrize("method", ["peter", "probe"])
def test_a_task_stands_on_it_and_reads_the_token(peter, views, place: Path, method: str) -> None:
    rates = ["--set", "epochs=1", "--set", "tcl_from=backbone"] if method == "peter" else []
    settings = ["--set", "tcl=on", "--set", "readout=last", "--set", "threads=1", *rates]
    words = ["task", "add", "other", "--labels", "gender.csv", "--backbone", "views", "--method", method]
    done = peter(*words, *settings, "--no-twin", "--json")
    assert done.code == 0, done.err
    assert peter("verify").code == 0


def test_low_rank_deltas_are_refused_in_a_sentence(peter, views, place: Path) -> None:
    done = peter("task", "add", "other", "--labels", "gender.csv", "--backbone", "views", "--method", "lora")
    assert done.code == 2
    assert "not SelfAttention; give --method peter" in done.err


@pytest.mark.parametrize(
    ("objective", "config", "tried"),
    [
        ("contrastive", {"contrast": "infonce"}, ["--objective next-item+contrastive"]),
        ("next-item+contrastive", {}, ["--set contrast=infonce"]),
        ("next-item+contrastive", {"contrast": "infonce"}, ["a lower --set view_dropout"]),
    ],
)
def test_what_was_tried_is_not_advised(objective: str, config: dict[str, str], tried: list[str]) -> None:
    assert _remedies({"objective": objective, "config": config}) == tried


def test_collapse_is_told_with_what_to_try(peter, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = peter("backbone", "pretrain", "clicks", "--objective", "contrastive", *SMALL, "--json")
    assert set(done.json["metrics"]["valid"]) == {"loss", "deviation", "rank"}
    assert done.json["metrics"]["test"] == {}
    assert not done.json["collapsed"]
    assert "collapsed" not in peter("backbone", "show", "clicks@2").out
    monkeypatch.setitem(collapse.LEAST, "deviation", 1.1)
    told = " ".join(peter("backbone", "show", "clicks@2").out.split())
    assert "The views collapsed: users differ by 0." in told
    assert "try --objective next-item+contrastive or --set contrast=infonce." in told
    assert peter("backbone", "show", "clicks@2", "--json").json["collapsed"]
    assert not peter("backbone", "show", "clicks@1", "--json").json["collapsed"]
