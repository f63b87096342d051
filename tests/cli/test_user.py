"""`peter user forget` as it is typed, and where a person sees that answers are sensitive."""

from pathlib import Path

import pytest
from small_workspace import everything

from peter.data.labels import match, read_labels
from peter.services.version import versions

USER = "u0000009"


def test_a_user_is_forgotten(peter, place: Path) -> None:
    done = peter("user", "forget", USER)
    assert (done.code, USER in done.out + done.err) == (0, False)
    assert done.out.startswith("The user is forgotten.\n")
    for said in (
        "clicks@1, gender, tier",
        "Pre-trained on the user's events too, which their weights may tell of: clicks@1;",
        "Backups of the registry and of the store hold the user until they expire.",
        "Learnt from the user: gender@1, tier@1.",
        "Next: peter user forget USER --refit",
    ):
        assert said in done.out
    told = peter("profile", "get", USER)
    assert (told.code, "has no events" in told.err) == (2, True)
    actions = [row["action"] for row in peter("audit", "list", "--json").json["changes"]]
    assert (actions[0], "user.forget" in actions) == ("user.forgotten", True)
    assert peter("audit", "verify").code == 0
    assert "needs-retrain" in peter("task", "versions", "gender").out
    again = peter("user", "forget", USER)
    assert (again.code, again.out.startswith("The user was forgotten before, on 20")) == (0, True)


def test_what_became_of_a_user_is_json(peter, place: Path) -> None:
    told = peter("user", "forget", USER, "--json").json
    assert told.pop("requested")
    assert told == {
        "again": False, "event_logs": ["clicks@1"], "label_sets": ["gender", "tier"],
        "backbones": ["clicks@1"], "patches": ["gender@1", "tier@1"], "refitted": [],
    }  # fmt: skip


def test_a_user_nobody_knows_is_an_error(peter, place: Path) -> None:
    before = everything(place)
    told = peter("user", "forget", "stranger")
    assert (told.code, told.out, told.err.count("\n")) == (2, "", 1)
    assert "Nothing is stored of a user 'stranger'" in told.err
    assert everything(place) == before


def test_a_champion_that_may_not_be_fitted_again_is_told(peter, place: Path, monkeypatch) -> None:
    monkeypatch.setenv("PETER_USER", "privacy")
    told = peter("user", "forget", USER, "--refit")
    assert (told.code, told.out.count("--force")) == (1, 2)


def test_an_id_in_an_error_is_shown_and_not_stored(peter, place: Path, monkeypatch) -> None:
    rows = [f"secret-{number},{'ab'[number % 2]}" for number in range(20)]
    (place / "sparse.csv").write_text("\n".join(["user_id,label", *rows]))
    shown = peter("task", "add", "sparse", "--labels", "sparse.csv")
    assert (shown.code, "'secret-0' for one" in shown.err) == (2, True)
    labels = read_labels(place / "sparse.csv")
    monkeypatch.setattr(versions, "trained", lambda workspace, request, _: match(labels, request.log))
    told = peter("task", "train", "gender", "--method", "bag")
    assert (told.code, "'secret-0' for one" in told.err) == (2, True)
    run = peter("run", "list", "--json").json["runs"][0]
    assert run["state"] == "failed"
    assert "names a user" in peter("run", "show", str(run["id"]), "--json").json["error"]
    files = [path for path in (place / ".peter").rglob("*") if path.is_file()]
    assert not [path for path in files if b"secret-" in path.read_bytes()]


@pytest.fixture
def sensitive(peter, place: Path) -> None:
    words = ("--labels", "gender.csv", "--method", "bag", "--no-twin", "--sensitive")
    assert peter("task", "add", "health", *words).code == 0
    assert peter("profile", "materialize", "--tasks", "health").code == 0


def test_sensitive_answers_are_marked_wherever_they_are_read(peter, place: Path, sensitive) -> None:
    marked = {task["name"]: task["sensitive"] for task in peter("task", "list", "--json").json["tasks"]}
    assert marked == {"gender": False, "health": True, "tier": False}
    assert "sensitive" in peter("task", "list").out
    assert "sensitive    yes" in peter("task", "show", "health").out
    assert "Sensitive personal data: health." in peter("profile", "get", "007").out
    assert "Sensitive personal data: health." in peter("profile", "query", "events > 0").out
    assert peter("profile", "export", "all.csv").code == 0
    lines = (place / "all.csv").read_text().splitlines()
    at = lines[0].split(",").index("sensitive")
    assert {(line.split(",")[1], line.split(",")[at]) for line in lines[1:]} == {
        ("gender", "false"), ("health", "true"), ("tier", "false"),
    }  # fmt: skip
