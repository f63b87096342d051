"""What gates do is told: in a version's report, against gates at random, and for each user."""

import pytest

QUICK = ["--set", "epochs=2", "--set", "threads=1", "--set", "wide=off", "--no-twin"]
BLOCKS = 2


@pytest.mark.slow
def test_the_report_and_the_profile_tell_which_blocks_were_opened(peter, place) -> None:
    add = ["task", "add", "gated", "--labels", "gender.csv", "--method", "adaptive", *QUICK]
    made = peter(*add, "--set", "caution=0", "--set", "learning_rate=0.02", "--json").json
    metrics = made["report"]["metrics"]
    told = metrics["gates"]
    assert sum(told["use"]) == pytest.approx(told["open"]["mean"], abs=1e-5)
    assert len(told["use"]) == BLOCKS
    assert 1 <= told["policies"] <= 2**BLOCKS
    assert {"blind", "bag", "probe"} <= set(metrics["baselines"])
    assert f"of {BLOCKS} blocks to a user" in " ".join(peter("task", "show", "gated").out.split())
    assert "over as many at random" in " ".join(peter("task", "show", "gated").out.split())

    users = ["007", "7", "NA", "u0000010"]
    plain = peter("profile", "get", *users, "--live", "--json").json["users"]
    explained = peter("profile", "get", *users, "--explain", "--json").json["users"]
    for card, before in zip(explained, plain, strict=True):
        assert len(card["tasks"]["gated"]["gates"]) == BLOCKS
        assert set(card["tasks"]["gated"]["gates"]) <= {0.0, 1.0}
        assert card["tasks"]["gender"]["gates"] is None
        for task, answer in before["tasks"].items():
            assert {key: card["tasks"][task][key] for key in answer} | {"as_of": answer["as_of"]} == answer
    assert f"of {BLOCKS} blocks" in peter("profile", "get", "007", "--explain").out
