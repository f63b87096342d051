"""`peter data append`: the next version of an event log, once however often it is typed."""

import pytest

HEAD = "user_id,item_id,timestamp\n"


@pytest.fixture
def logged(peter, tmp_path):
    """`peter data`, where january.csv was imported as clicks; february.csv is there, too."""
    (tmp_path / "january.csv").write_text(f"{HEAD}u,a,5\nu,b,6\nv,a,7\n")
    (tmp_path / "february.csv").write_text(f"{HEAD}t,c,1\nu,d,8\n")
    peter("init")
    peter("data", "import", "january.csv", "--name", "clicks")
    return lambda *words: peter("data", *words)


def test_an_append_makes_a_version_with_a_parent(logged):
    made = logged("append", "clicks", "february.csv", "--json")
    assert (made.code, made.err) == (0, "")
    counts = {key: made.json[key] for key in ("version", "parent", "users", "items", "events")}
    assert counts == {"version": 2, "parent": "clicks@1", "users": 3, "items": 4, "events": 5}
    assert (made.json["first_at"], made.json["last_at"]) == (1, 8)
    assert logged("show", "clicks", "--json").json == made.json
    listed = logged("list", "--json").json["event_logs"]
    assert [(log["version"], log["parent"]) for log in listed] == [(1, None), (2, "clicks@1")]
    assert "clicks@1" in logged("show", "clicks@2").out
    assert logged("list").out.split().count("clicks@1") == 2
    assert "Next: peter profile materialize" in logged("append", "clicks", "february.csv").out


def test_a_file_that_was_given_before_is_left_out(logged, tmp_path):
    once = logged("append", "clicks", "february.csv", "--json").json
    (tmp_path / "copy.tsv").write_text("when\titem_id\tuser_id\n1.0\tc\tt\n8\td\tu\n")
    for words in (["february.csv"], ["january.csv", "february.csv"], ["copy.tsv", "--time", "when"]):
        assert logged("append", "clicks", *words, "--json").json == once
    (tmp_path / "march.csv").write_text(f"{HEAD}w,a,9\n")
    more = logged("append", "clicks", "january.csv", "february.csv", "march.csv", "--json").json
    assert (more["version"], more["parent"], more["events"]) == (3, "clicks@2", 6)
    assert more["report"]["rows"] == 1
    assert len(logged("list", "--json").json["event_logs"]) == 3


def test_an_import_of_the_same_name_begins_anew(logged, tmp_path):
    logged("append", "clicks", "february.csv")
    (tmp_path / "other.csv").write_text(f"{HEAD}x,y,1\n")
    assert logged("import", "other.csv", "--name", "clicks", "--json").json["parent"] is None
    made = logged("append", "clicks", "february.csv", "--json").json
    assert (made["version"], made["parent"], made["events"]) == (4, "clicks@3", 3)
