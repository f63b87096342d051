"""`--method prune` as it is typed: a root appears, its weights are shared out, and what is read stays."""

from pathlib import Path

QUICK = ("--method", "prune", "--no-twin", "--set", "epochs=1", "--set", "threads=1")


def test_a_lineage_from_the_first_task_to_the_last(peter, place: Path) -> None:
    first = peter("task", "add", "sex", "--labels", "gender.csv", *QUICK, "--json").json
    assert first["champion"]["backbone"] == "clicks@2"
    second = peter("task", "add", "rank", "--labels", "tier.csv", *QUICK)
    assert "rank@1 reads sex@1, which is worth" in second.out
    assert "Reading gained rank@1" in second.out
    shown = peter("backbone", "show", "clicks@2")
    assert [line.split()[0] for line in shown.out.splitlines() if "█" in line] == [
        "clicks@2",
        "sex@1",
        "rank@1",
        "free",
    ]
    capacity = peter("backbone", "show", "clicks@2", "--json").json["capacity"]
    assert sum(owner["weights"] for owner in capacity["owners"]) < capacity["weights"]
    assert "reads sex@1" in peter("backbone", "tree").out
    stays = peter("task", "remove", "sex")
    assert (stays.code, stays.err) == (
        2,
        "Task 'sex' stays: rank@1 read its versions; remove what reads them first.\n",
    )
    alone = peter("task", "export", "rank", "out")
    assert (alone.code, "--whole" in alone.err) == (2, True)
    assert peter("task", "export", "rank", "out", "--whole").code == 0
    assert peter("task", "import", "out", "--name", "copy").code == 0
    assert peter("verify").code == 0
    (user,) = peter("profile", "get", "7", "--live", "--json").json["users"]
    said = {name: user["tasks"][name]["predicted_probability"] for name in ("rank", "copy")}
    assert said["rank"] == said["copy"]


def test_a_method_that_needs_a_root_says_how_to_get_one(peter, place: Path) -> None:
    told = peter("task", "compare", "gender", "--methods", "prune")
    assert (told.code, told.out) == (2, "")
    assert told.err.endswith("`peter task add NAME --method prune` derives one.\n")
    wrong = peter("task", "add", "sex", "--labels", "gender.csv", "--method", "prune", "--set", "pruned=1")
    assert (wrong.code, wrong.err) == (2, "pruned=1.0 cannot be used; give a number from 0 to below 1.\n")
    assert [row["name"] for row in peter("backbone", "list", "--json").json["backbones"]] == ["clicks"]
