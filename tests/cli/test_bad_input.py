"""Bad input: one sentence, exit code 2, and nothing changed."""

import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from small_workspace import everything

from peter.registry import backbones, event_logs, patches, profiles

QUICK = ["--set", "epochs=1", "--set", "threads=1"]
IMPORT = ["data", "import", "--name", "other"]
APPEND = ["data", "append", "clicks"]
ADD = ["task", "add", "other", *QUICK, "--labels"]
PRETRAIN = ["backbone", "pretrain", "clicks", "--name", "other", *QUICK, "--channels", "8", "--blocks", "2"]
QUERY = ["profile", "query"]

MALFORMED = {
    "wrong columns": (lambda text: text.replace(b"user_id", b"person"), "has no column user_id"),
    "header only": (lambda text: text[: text.index(b"\n") + 1], "holds no rows"),
    "nothing at all": (lambda text: b"", "is empty"),
    "UTF-16": (lambda text: text.decode().encode("utf-16"), "is written in UTF-16"),
    "Latin-1": (lambda text: text + "Zoë".encode("latin-1"), "is not UTF-8"),
    "NUL": (lambda text: text.replace(b"7,", b"\0,", 1), "holds a NUL byte"),
    "a field too many": (lambda text: text[:-1] + b",more\n", "fields where the header has"),
    "a field too few": (lambda text: text + b"u1\n", "has 1 field where the header has"),
    "semicolons": (lambda text: text.replace(b",", b";"), "is separated by semicolons"),
    "an open quote": (lambda text: text + b'"u1,i1\n', "is not proper CSV"),
    "nobody": (lambda text: text.replace(b"\n007,", b"\n,"), "has nothing in column user_id"),
    "blanks around an id": (lambda text: text.replace(b"\n007,", b"\n 007,"), "has blanks around it"),
}
BAD_EVENTS = {
    "not a time": (lambda text: text + b"u1,i1,soon\n", "'soon' in column timestamp is not"),
    "a time that is no number": (lambda text: text + b"u1,i1,nan\n", "'nan' in column timestamp is not"),
    "no item": (lambda text: text + b"u1,,3\n", "has nothing in column item_id"),
}
BAD_LABELS = {
    "NaN": (lambda text: text + b"u1,NaN\n", "'NaN' in column gender is not a label"),
    "infinity": (lambda text: text + b"u1,-inf\n", "'-inf' in column gender is not a label"),
    "conflicting duplicates": (lambda text: text + b"007,other\n", "says different things about one user in"),
    "one class only": (lambda text: text.replace(b"gender0", b"gender1"), "only the class 'gender1'"),
    "users without events": (lambda text: text.replace(b"\nu", b"\nx"), "have no events"),
    "too few users": (lambda text: text[: text.index(b"\nu0000009")], "part of the split"),
    "several columns": (lambda text: text.replace(b"\n", b",x\n"), "choose one with --column"),
    "a number for each user": (
        lambda text: b"user_id,age\n" + b"".join(b"u%07d,%d.5\n" % (n, n) for n in range(10, 60)),
        "say which with --kind",
    ),
    "dates beside numbers": (
        lambda text: text.replace(b"\n", b",2024-12-31\n").replace(b"2024-12-31", b"timestamp", 1),
        "one writes times as dates",
    ),
}

WORDS = {
    "a missing file": ([*IMPORT, "nosuch.csv"], "no file nosuch.csv"),
    "missing labels": ([*ADD, "nosuch.csv"], "no file nosuch.csv"),
    "missing new labels": (["task", "train", "gender", "--labels", "nosuch.csv"], "no file nosuch.csv"),
    "a folder": ([*IMPORT, "."], "is a folder"),
    "an unknown ending": ([*IMPORT, "events.xlsx"], "unknown ending"),
    "a file twice": ([*IMPORT, "events.csv", "./events.csv"], "is given twice"),
    "a column that is not there": ([*IMPORT, "events.csv", "--item", "sku"], "has no column sku"),
    "one column for two": ([*IMPORT, "events.csv", "--time", "item_id"], "cannot be two of"),
    "too much left out": ([*IMPORT, "events.csv", "--min-user-count", "999"], "lower --min-item-count"),
    "no log to append to": (["data", "append", "click", "events.csv"], "did you mean clicks?"),
    "a version to append to": (["data", "append", "clicks@1", "events.csv"], "the name alone, clicks"),
    "a path to append to": (["data", "append", "../x", "events.csv"], "'../x' is not a reference"),
    "nothing to append": ([*APPEND, "nosuch.csv"], "no file nosuch.csv"),
    "a file appended twice": ([*APPEND, "gender.csv", "gender.csv"], "is given twice"),
    "no times to append": ([*APPEND, "gender.csv", "--item", "gender"], "has no column timestamp"),
    "a hostile log": (["data", "import", "events.csv", "--name", "../x"], "'../x' cannot name an event log"),
    "a hostile backbone": ([*PRETRAIN, "--name", "../x"], "'../x' cannot name a backbone"),
    "no such label column": ([*ADD, "gender.csv", "--column", "age"], "has no column age"),
    "no such backbone": ([*ADD, "gender.csv", "--backbone", "click"], "did you mean clicks?"),
    "no such backbone version": ([*ADD, "gender.csv", "--backbone", "clicks@2"], "did you mean clicks@1?"),
    "no such kind": ([*ADD, "gender.csv", "--kind", "nosuch"], "no task kind called 'nosuch'"),
    "no such method": ([*ADD, "gender.csv", "--method", "prob"], "did you mean probe?"),
    "no such setting": ([*ADD, "gender.csv", "--set", "epoch=3"], "did you mean epochs?"),
    "a setting without a value": ([*ADD, "gender.csv", "--set", "epochs"], "write it as key=value"),
    "a setting of another type": ([*ADD, "gender.csv", "--set", "epochs=many"], "not a whole number"),
    "no epochs": ([*ADD, "gender.csv", "--set", "epochs=0"], "give epochs=1 or more"),
    "no threads": ([*ADD, "gender.csv", "--set", "threads=0"], "give threads=1 or more"),
    "no learning rate": ([*ADD, "gender.csv", "--set", "learning_rate=nan"], "give learning_rate=0 or more"),
    "no schedule": ([*ADD, "gender.csv", "--set", "schedule=0.1"], "such as schedule=5:learning_rate=0.0003"),
    "a schedule of what is not there": (
        [*ADD, "gender.csv", "--method", "probe", "--set", "schedule=2:dropout=0.1"],
        "method probe does not have",
    ),
    "a bottleneck too narrow": ([*ADD, "gender.csv", "--set", "reduction=9"], "reduction=9 cannot be used"),
    "blocks that are not there": ([*ADD, "gender.csv", "--set", "blocks=1:9"], "Blocks 1 to 8"),
    "no such event log": (["backbone", "pretrain", "click"], "did you mean clicks?"),
    "no such objective": ([*PRETRAIN, "--objective", "next-itm"], "did you mean next_item?"),
    "another body's objective": ([*PRETRAIN, "--objective", "gap-fill"], "add --no-causal"),
    "no such architecture": ([*PRETRAIN, "--set", "architecture=nosuch"], "known: nextitnet"),
    "heads that do not fit": (
        [*PRETRAIN, "--architecture", "sasrec", "--set", "heads=3"],
        "give a divisor of 8",
    ),
    "views that are one": (
        [*PRETRAIN, "--objective", "contrastive", "--set", "view_dropout=0"],
        "give view_dropout=0.5 or augment=mask",
    ),
    "no such augmentation": (
        [*PRETRAIN, "--objective", "contrastive", "--set", "augment=crp"],
        "did you mean crop?",
    ),
    "objectives that do not join": (
        [*PRETRAIN, "--objective", "next-item+gap-fill"],
        "e.g. next-item+contrastive",
    ),
    "many for what one must see": (
        [*PRETRAIN, "--objective", "contrastive", "--workers", "2"],
        "leave out --workers",
    ),
    "all dropped": ([*PRETRAIN, "--set", "dropout=1"], "from 0 to below 1"),
    "no dilations": ([*PRETRAIN, "--set", "dilations="], "dilations=1,4"),
    "negative negatives": ([*PRETRAIN, "--set", "negatives=-1"], "give negatives=0 or more"),
    "a run that is done": (["backbone", "pretrain", "--resume", "1"], "Run 1 is a pretrain that is done"),
    "a run of another kind": (
        ["backbone", "pretrain", "--resume", "2"],
        "Run 2 is no pre-training but a train",
    ),
    "no such run to resume": (["backbone", "pretrain", "--resume", "99"], "no run called '99'"),
    "no such log to show": (["data", "show", "clicks@2"], "did you mean clicks@1?"),
    "a path for a log": (["data", "show", "../x"], "'../x' is not a reference"),
    "no such backbone to show": (["backbone", "show", "nosuch"], "known: clicks"),
    "no such task to show": (["task", "show", "gendr"], "did you mean gender?"),
    "no task to compare": (["task", "compare", "gendr"], "did you mean gender?"),
    "a method that only compares": ([*ADD, "gender.csv", "--method", "joint"], "choose another"),
    "no versions": (["task", "versions", "nosuch"], "known: gender, tier"),
    "no task to train": (["task", "train", "nosuch"], "known: gender, tier"),
    "no such version": (["task", "promote", "gender@2"], "did you mean gender@1"),
    "version nought": (["task", "promote", "gender@0"], "'gender@0' is not a reference"),
    "a version beyond all numbers": (["task", "promote", "gender@" + "9" * 18], "known: gender@1"),
    "nothing to go back to": (["task", "rollback", "gender"], "No other version of 'gender'"),
    "no task to roll back": (["task", "rollback", "nosuch"], "known: gender, tier"),
    "no task to tune": (["tune", "gendr"], "did you mean gender?"),
    "no such run": (["run", "show", "99"], "no run called '99'"),
    "a run without number": (["run", "show", "first"], "'first' is not the id of a run"),
    "a run beyond all numbers": (["run", "show", "9" * 30], f"no run called '{'9' * 30}'"),
    "a stranger": (["profile", "get", "007", "nobody"], "User 'nobody' has no events"),
    "a stranger asked for now": (["profile", "get", "nobody", "--live"], "User 'nobody' has no events"),
    "no task to score": (["profile", "materialize", "--tasks", "gender,nosuch"], "known: gender, tier"),
    "no name to score": (["profile", "materialize", "--tasks", ""], "'' is not a reference"),
    "another ending": (["profile", "export", "profiles.xlsx"], "neither .parquet nor .csv"),
    "a folder in its place": (["profile", "export", "folder.parquet"], "is a directory; name a file"),
    "a folder that is not there": (["profile", "export", "nosuch/x.csv"], "choose another place"),
    "no such demo": (
        ["demo", "--data", "nosuch"],
        "known: complete-journey, complete-journey-cross, movielens-100k",
    ),
    "another database": (["task", "list", "--registry", "mysql://x"], "mysql cannot hold a registry"),
    "no database": (["task", "list", "--registry", "sqlite:///events.csv"], "is not an SQLite database"),
}

NAMES = {
    "../x": "cannot name a task; use up to 63",
    "-x": "cannot name a task; use up to 63",
    "a" * 64: "cannot name a task; use up to 63",
    "a\n": r"'a\n' cannot name a task",
    "Gender": "cannot name a task; use up to 63",
    "": "cannot name a task; use up to 63",
    "select": "it is a word of SQL",
    "con": "Windows keeps it for a device",
    "gender_p": "column 'gender_p' belongs to task 'gender'",
    "events": "column 'events' belongs to every profile",
    "gender": "Task 'gender' exists; train its next version with",
}

CONDITIONS = {
    "": "the columns are user_id, events, gender, gender_p, tier, tier_p",
    "gender = ": "syntax error",
    "gendr = 'F'": '"gendr" not found',
    "gender = 'F\n": "unterminated",
    "1=1) union select * from wide --": "syntax error",
    "1=1); drop view wide; --": "syntax error",
    "1=1; select 1": "cannot be used",
    "user_id in (select content from read_text('/etc/passwd'))": "disabled by configuration",
    "exists (select 1 from 'gender.csv')": "disabled by configuration",
    "exists (select 1 from glob('*'))": "disabled by configuration",
    "exists (from sqlite_scan('.peter/registry.db', 'audit'))": "cannot be used",
    "error('boom\nbang')": "boom",
}

FOREIGN = [
    ["task", "train", "gender"],
    ["task", "promote", "gender@1"],
    ["task", "rollback", "gender"],
    ["tune", "gender"],
]

Change = Callable[[bytes], bytes]


@pytest.fixture
def refused(peter, place: Path) -> Callable[..., str]:
    """Run `peter` with these words, and see to it that it refuses them and changes nothing."""

    def run(*words: str) -> str:
        before = everything(place)
        done = peter(*words)
        assert (done.code, done.out) == (2, ""), done.err
        assert done.err.count("\n") == 1
        assert everything(place) == before
        return done.err

    return run


@pytest.mark.parametrize(
    ("change", "said"), {**MALFORMED, **BAD_EVENTS}.values(), ids=[*MALFORMED, *BAD_EVENTS]
)
def test_events_that_cannot_be_imported(refused, place: Path, change: Change, said: str) -> None:
    (place / "bad.csv").write_bytes(change((place / "events.csv").read_bytes()))
    assert said in refused(*IMPORT, "bad.csv")
    assert said in refused(*APPEND, "bad.csv")


@pytest.mark.parametrize(
    ("change", "said"), {**MALFORMED, **BAD_LABELS}.values(), ids=[*MALFORMED, *BAD_LABELS]
)
def test_labels_that_cannot_be_learnt(refused, place: Path, change: Change, said: str) -> None:
    (place / "bad.csv").write_bytes(change((place / "gender.csv").read_bytes()))
    assert said in refused(*ADD, "bad.csv")
    assert said in refused("task", "check", "--labels", "bad.csv")


def test_no_lineage_is_begun_for_what_cannot_be_learnt(refused, place: Path) -> None:
    change, said = BAD_LABELS["too few users"]
    (place / "bad.csv").write_bytes(change((place / "gender.csv").read_bytes()))
    prune = [*QUICK, "--method", "prune", "--labels"]
    assert said in refused("task", "add", "x", "y", *prune, "gender.csv", "--labels", "bad.csv")
    assert said in refused("task", "train", "gender", *prune, "bad.csv")
    assert "free" in refused("task", "add", "x", *prune, "gender.csv", "--set", "pruned=0")


@pytest.mark.parametrize(("words", "said"), WORDS.values(), ids=WORDS)
def test_words_that_fit_nothing(refused, place: Path, words: list[str], said: str) -> None:
    (place / "events.xlsx").touch()
    (place / "folder.parquet").mkdir()
    assert said in refused(*words)


@pytest.mark.parametrize(("name", "said"), NAMES.items(), ids=map(repr, NAMES))
def test_names_that_no_task_may_have(refused, name: str, said: str) -> None:
    assert said in refused("task", "add", *QUICK, "--labels", "gender.csv", "--", name)


def test_a_name_that_looks_like_an_option(peter, place: Path) -> None:
    before = everything(place)
    done = peter("task", "add", "-x", "--labels", "gender.csv")
    assert (done.code, done.out) == (2, "")
    assert "No such option: -x" in done.err
    assert everything(place) == before


@pytest.mark.parametrize(("where", "said"), CONDITIONS.items(), ids=map(repr, CONDITIONS))
def test_conditions_that_are_none(refused, where: str, said: str) -> None:
    assert said in refused(*QUERY, where)


def test_a_refused_condition_leaves_a_real_process_in_one_line(place: Path) -> None:
    program = "from peter.cli.main import main; main()"
    words = [sys.executable, "-c", program, *QUERY, "gendr = 'F'"]
    done = subprocess.run(words, cwd=place, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)


@pytest.mark.parametrize("words", FOREIGN, ids=" ".join)
def test_somebody_else_s_task(refused, monkeypatch: pytest.MonkeyPatch, words: list[str]) -> None:
    monkeypatch.setenv("PETER_USER", "eve")
    assert "or repeat the command with --force" in refused(*words)


DAMAGES = {
    "truncated": lambda data: data[: len(data) // 2],
    "one bit flipped": lambda data: data[:-9] + bytes([data[-9] ^ 4]) + data[-8:],
    "emptied": lambda data: b"",
    "lost": None,
}
OBJECTS = {
    "backbone": lambda session: backbones.only(session).weights_sha256,
    "patch": lambda session: patches.get(session, "gender").weights_sha256,
    "labels": lambda session: patches.get(session, "gender").label_set.sha256,
    "events": lambda session: event_logs.get(session, "clicks").sha256,
    "vocabulary": lambda session: event_logs.get(session, "clicks").vocab_sha256,
    "profiles": lambda session: profiles.current(session)[0].sha256,
}
READERS = [
    ("backbone", ["profile", "get", "7", "--live"]),
    ("backbone", [*ADD, "gender.csv"]),
    ("patch", ["profile", "get", "7", "--live"]),
    ("patch", ["profile", "materialize"]),
    ("labels", ["task", "train", "gender"]),
    ("events", [*ADD, "gender.csv"]),
    ("events", PRETRAIN),
    ("events", [*APPEND, "later.csv"]),
    ("vocabulary", PRETRAIN),
    ("profiles", ["profile", "get", "7"]),
    ("profiles", [*QUERY, "true"]),
    ("profiles", ["profile", "export", "profiles.csv"]),
]


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
@pytest.mark.parametrize(("kind", "words"), READERS, ids=[f"{kind}-{words[0]}" for kind, words in READERS])
def test_a_damaged_object(refused, workspace, kind: str, words: list[str], damage: Change | None) -> None:
    with workspace.registry.read() as session:
        path = workspace.objects.path(OBJECTS[kind](session))
    data = path.read_bytes()
    path.unlink()
    if damage:
        path.write_bytes(damage(data))
    said = refused(*words)
    assert path.name in said
    assert ("no longer hashes to its name" if damage else "is missing from") in said


@pytest.mark.parametrize("words", [["task", "list"], [*ADD, "gender.csv"], ["db", "upgrade"]], ids=" ".join)
def test_a_registry_of_a_newer_schema(refused, place: Path, words: list[str]) -> None:
    with sqlite3.connect(place / ".peter" / "registry.db") as database:
        database.execute("UPDATE alembic_version SET version_num = '9999'")
    database.close()
    assert "upgrade peter" in refused(*words)
