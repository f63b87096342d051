"""`peter task compare`: methods side by side, measured alike, and nothing registered."""

import json
import re
from pathlib import Path

import pytest
from small_workspace import everything

from peter import plugins
from peter.methods import GROUP

QUICK = ["--set", "epochs=1", "--set", "threads=1"]
METRICS = {"accuracy", "macro_f1", "roc_auc", "log_loss", "ece"}


def test_rivals_stand_beside_the_first_method(peter, place: Path) -> None:
    before = everything(place)
    done = peter("task", "compare", "gender", "--methods", "peter,probe,majority,probe", *QUICK, "--json")
    assert (done.code, done.err) == (0, "")
    found = done.json
    assert (found["task"], found["backbone"], found["primary"]) == ("gender", "clicks@1", "log_loss")
    rows = {row["method"]: row for row in found["methods"]}
    assert list(rows) == ["peter", "probe", "majority"]
    for row in rows.values():
        assert set(row["metrics"]) == {"valid", "test"}
        for scores in row["metrics"].values():
            assert set(scores) == METRICS
            for name, value in scores.items():
                assert value["low"] - 1e-9 <= value["value"] <= value["high"] + 1e-9, (name, value)
        assert row["serve_ms_per_user"] > 0
        assert row["bulk_users_per_second"] > 0
        assert row["train_seconds"] > 0
        assert "seeds" not in row
    assert rows["peter"]["difference"] is None
    for name in ("probe", "majority"):
        for metric, value in rows[name]["difference"].items():
            apart = (
                (rows[name]["metrics"]["test"][metric]["value"])
                - (rows["peter"]["metrics"]["test"][metric]["value"])
            )
            assert value["value"] == pytest.approx(apart, abs=1e-5)
    assert rows["majority"]["params"] == 0
    assert rows["peter"]["share"] == rows["peter"]["params"] / 1216

    after = everything(place)
    (run,) = after["run"][len(before["run"]) :]
    assert (run["kind"], run["state"], run["subject"]) == ("compare", "done", "gender")
    assert run["params"]["methods"] == ["peter", "probe"]
    assert set(run["metrics"]) == set(rows)
    for table in ("patch", "alias", "alias_history", "label_set", "task", "backbone", "files"):
        assert after[table] == before[table]


def test_the_champion_s_metrics_are_those_it_was_registered_with(peter, place: Path) -> None:
    champion = peter("task", "show", "tier", "--json").json["champion"]
    found = peter("task", "compare", "tier", "--methods", "bag,peter", "--json").json
    first, second, _ = found["methods"]
    assert second["metrics"]["test"] == champion["metrics"]["test"]
    assert second["params"] == champion["params"]
    assert first["metrics"]["test"] == champion["metrics"]["baselines"]["bag"]
    difference = champion["metrics"]["differences"]["bag"]["log_loss"]
    assert second["difference"]["log_loss"]["value"] == pytest.approx(difference["value"])


def test_seeds_are_averaged_and_their_spread_is_told(peter, place: Path) -> None:
    words = ["task", "compare", "gender", "--methods", "scratch,bag", *QUICK, "--json"]
    alone = [peter(*words, "--seed", seed).json["methods"] for seed in (4, 5)]
    found = peter(*words, "--seed", "4", "--seeds", "2").json
    assert found["seeds"] == {"first": 4, "count": 2}
    scratch, bag, majority = found["methods"]
    losses = [rows[0]["metrics"]["test"]["log_loss"]["value"] for rows in alone]
    assert losses[0] != losses[1]
    told = scratch["seeds"]["test"]["log_loss"]
    assert told["mean"] == pytest.approx(sum(losses) / 2)
    assert told["sd"] == pytest.approx(abs(losses[0] - losses[1]) / 2**0.5)
    assert scratch["metrics"]["test"]["log_loss"]["value"] == pytest.approx(told["mean"], abs=1e-6)
    assert bag["seeds"]["test"]["log_loss"]["sd"] == 0
    for row in (bag, majority):
        at = found["methods"].index(row)
        apart = [rows[at]["difference"]["log_loss"]["value"] for rows in alone]
        assert row["difference"]["log_loss"]["value"] == pytest.approx(sum(apart) / 2, abs=1e-6)


@pytest.mark.slow
def test_every_installed_method_is_compared_if_none_is_named(peter, place: Path) -> None:
    done = peter("task", "compare", "gender", *QUICK, "--json")
    assert done.code == 0, done.err
    names = [row["method"] for row in done.json["methods"]]
    assert names[0] == "peter"
    unfit = {"prune", "relearn"}  # the backbone is no root, and knows its items by their ids
    fitting = set(plugins.modules(GROUP)) - unfit
    assert sorted(names) == sorted([*fitting, "majority"])


def test_the_table_names_who_is_better_and_fits_a_narrow_terminal(peter, place: Path) -> None:
    words = ["task", "compare", "gender", "--methods", "bag,scratch", *QUICK]
    done = peter(*words, "--set", "learning_rate=0.01", "--set", "epochs=6")
    assert done.code == 0, done.err
    head = done.out.partition("On ")[0]
    assert max(map(len, head.splitlines())) <= 84
    for word in ("one user", "bag", "scratch", "majority", " ms", "/s"):
        assert word in head
    assert re.search(r"^ 1,\d{3} .*\n 1\d\d\.\d% .*/s", head, re.MULTILINE)
    assert "scratch is better" in done.out
    assert "than bag: its log_loss is lower by " in done.out
    assert "Nothing was registered" in done.out


def test_a_setting_counts_for_the_methods_that_have_it(peter, place: Path) -> None:
    words = ["task", "compare", "gender", "--methods", "peter,bag", *QUICK, "--set", "reduction=4", "--json"]
    done = peter(*words)
    assert done.code == 0, done.err
    assert (
        done.json["methods"][0]["params"]
        > peter("task", "show", "gender", "--json").json["champion"]["params"]
    )


def test_joint_learns_from_the_other_tasks_and_is_never_registered(peter, place: Path) -> None:
    found = peter("task", "compare", "gender", "--methods", "full,joint", *QUICK, "--json").json
    full, joint, _ = found["methods"]
    tier = 8 * 4 * 4 + 4  # a head from three levels and the summary to its four classes
    assert joint["params"] == full["params"] + tier
    before = everything(place)
    for words in (
        ["task", "add", "other", "--labels", "gender.csv", "--method", "joint"],
        ["task", "train", "gender", "--method", "joint"],
    ):
        done = peter(*words)
        assert (done.code, done.out) == (2, "")
        assert "Method joint is there to be compared with" in done.err
        assert "--methods peter,joint" in done.err
    assert everything(place) == before


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nosuch"], "known: gender, tier"),
        (["gender", "--methods", "prob"], "did you mean probe?"),
        (["gender", "--methods", ","], "no method to compare"),
        (["gender", "--methods", "bag,probe", "--set", "reductoin=4"], "no setting called 'reductoin'"),
        (["gender", "--methods", "bag,probe", "--set", "epochs"], "write it as key=value"),
        (["gender", "--methods", "bag,peter", "--set", "reduction=9"], "reduction=9 cannot be used"),
    ],
    ids=" ".join,
)
def test_what_cannot_be_compared_changes_nothing(peter, place: Path, words: list[str], said: str) -> None:
    before = everything(place)
    done = peter("task", "compare", *words)
    assert (done.code, done.out) == (2, "")
    assert said in done.err
    assert done.err.count("\n") == 1
    assert everything(place) == before


def test_the_document_is_json_alone(peter, place: Path) -> None:
    done = peter("task", "compare", "tier", "--methods", "bag", "--json")
    assert json.loads(done.out)["task"] == "tier"
    assert done.err == ""
