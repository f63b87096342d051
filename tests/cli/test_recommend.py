"""Recommendation to users who are new in a domain, as a user of the command line has it."""

import json

import polars as pl
import pytest

from peter.data.synthetic import Bazaar, Population

WORLD = Bazaar(items=200, genres=40, taste=1.0, seed=1)
CATALOGUE, MOST = 40, 5


@pytest.fixture
def shop(peter, tmp_path):
    """A backbone of one domain, and choices.csv of another one."""
    people = Population.draw(WORLD, users=600, length=(10, 25))
    people.write_events(tmp_path / "events.csv")
    people.write_choices(tmp_path / "choices.csv", CATALOGUE, (2, MOST))
    peter("init")
    peter("data", "import", "events.csv", "--name", "shop")
    shape = ("--channels", "16", "--blocks", "2", "--set", "learning_rate=0.01")
    made = peter("backbone", "pretrain", "shop", *shape, "--epochs", "3")
    assert made.code == 0, made.err
    return peter


@pytest.mark.slow
def test_the_whole_path(shop, tmp_path):
    peter = shop
    assert peter("task", "check", "--labels", "choices.csv", "--json").json["kind"] == "recommendation"
    quick = ("--set", "epochs=3", "--set", "top=7")
    added = peter("task", "add", "next", "--labels", "choices.csv", "--kind", "recommendation", *quick)
    assert added.code == 0, added.err
    assert "next@1 is champion" in added.out

    shown = peter("task", "show", "next", "--json").json
    assert shown["kind"] == "recommendation"
    metrics = shown["champion"]["metrics"]
    ours, others = metrics["test"]["ndcg@10"], metrics["baselines"]
    majority = others["majority"]["ndcg@10"]["value"]
    assert ours["low"] > majority
    assert metrics["differences"]["majority"]["ndcg@10"]["low"] > 0
    assert others["bag"]["ndcg@10"]["value"] > majority
    assert metrics["test"]["hit@10"]["low"] > 10 / (CATALOGUE - MOST)
    assert set(metrics["test"]) >= {"hit@5", "mrr@10", "uni100_ndcg@10"}

    owned = pl.read_csv("choices.csv").group_by("user_id").agg("item_id").sort("user_id")
    user, own = owned.row(0)
    answer = peter("profile", "get", user, "--json").json["users"][0]["tasks"]["next"]
    assert (answer["source"], len(answer["value"])) == ("predicted", 7)
    assert not set(own) & set(answer["value"])
    assert 0 < answer["probability"] <= 1
    odds = answer["details"]["chances"]
    assert odds == sorted(odds, reverse=True)
    assert sum(odds) == pytest.approx(answer["probability"])
    drawn = peter("profile", "get", user)
    assert drawn.code == 0, drawn.err
    assert answer["value"][0] in drawn.out

    assert peter("profile", "materialize").code == 0
    stored = peter("profile", "get", user, "--json").json["users"][0]["tasks"]["next"]
    assert stored["value"] == answer["value"]
    where = f"list_contains(next, '{answer['value'][0]}') AND next_p > 0"
    found = peter("profile", "query", where, "--json").json["users"]
    assert user in [each["user_id"] for each in found]
    assert peter("profile", "query", where).code == 0
    for name in ("profiles.csv", "profiles.parquet"):
        assert peter("profile", "export", name).code == 0
    told = pl.read_csv("profiles.csv").row(by_predicate=pl.col("user_id") == user, named=True)
    assert answer["value"][0] in told["value"]
    assert json.loads(told["details"])["chances"] == pytest.approx(odds)


@pytest.mark.slow
def test_other_methods_and_losses_recommend_too(shop):
    for name, *settings in (
        ("bag",),
        ("probe", "factors=4"),
        ("peter", "epochs=1", "objective=sampled", "sampler=frequency"),
        ("peter", "epochs=1", "objective=bpr", "sampler=lambdafm", "negatives=8"),
    ):
        task = "_".join([name, *settings]).replace("=", "_")
        chosen = [word for setting in settings for word in ("--set", setting)]
        made = shop("task", "add", task, "--labels", "choices.csv", "--method", name, *chosen, "--json")
        assert made.code == 0, made.err
        metrics = made.json["report"]["metrics"]
        assert metrics["test"]["ndcg@10"]["value"] > metrics["baselines"]["majority"]["ndcg@10"]["value"]


def test_labels_that_could_be_anything_name_the_kinds(shop, tmp_path):
    (tmp_path / "one.csv").write_text("user_id,item_id\n" + "".join(f"u{at:07},{at}\n" for at in range(300)))
    done = shop("task", "check", "--labels", "one.csv")
    assert done.code == 2
    assert "--kind" in done.err
    assert "recommendation" in done.err
