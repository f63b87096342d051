"""`--items FILE`: what is known of items is kept beside the event log, from version to version."""

import sqlite3

import pytest

from peter.registry import event_logs
from peter.services.logs import open_items
from peter.services.workspace import Workspace

EVENTS = "user_id,item_id,timestamp\nu,a,5\nv,b,6\nw,a,7\n"
ITEMS = "item_id,title,price\na,Apples,1.5\nb,Bread,\nnew,Not sold yet,3\n"
IMPORT = ["import", "events.csv", "--name", "shop"]
KINDS = {"title": {"kind": "text", "items": 3}, "price": {"kind": "number", "items": 2}}


@pytest.fixture
def data(peter, tmp_path):
    """`peter data`, where there is a registry, events.csv and items.csv."""
    (tmp_path / "events.csv").write_text(EVENTS)
    (tmp_path / "items.csv").write_text(ITEMS)
    peter("init")
    return lambda *words: peter("data", *words)


@pytest.fixture
def described(data):
    """The same, where events.csv was imported as shop with items.csv."""
    assert data(*IMPORT, "--items", "items.csv").code == 0
    return data


def known(tmp_path, reference):
    """The rows of a version's item table."""
    workspace = Workspace.open(f"sqlite:///{tmp_path}/.peter/registry.db")
    with workspace.registry.read() as session:
        table = open_items(workspace, event_logs.get(session, reference))
    workspace.registry.dispose()
    return table and table.frame.rows()


def test_an_import_keeps_what_is_known_of_items(data, tmp_path):
    made = data(*IMPORT, "--items", "items.csv", "--json")
    assert (made.code, made.err) == (0, "")
    assert made.json["report"]["items"] == {"rows": 3, "described": 2, "columns": KINDS}
    assert data("show", "shop", "--json").json == made.json
    assert known(tmp_path, "shop") == [("a", "Apples", 1.5), ("b", "Bread", None), ("new", "Not sold yet", 3)]
    drawn = " ".join(data("show", "shop").out.split())
    assert "report items described 2 of 2" in drawn
    assert "report items columns price kind number, items 2" in drawn


def test_a_table_of_few_items_is_told_to_be_one(data, tmp_path):
    for more, few in (("x,c,8\n", False), ("x,c,8\nx,d,9\nx,e,10\n", True)):
        (tmp_path / "events.csv").write_text(EVENTS + more)
        drawn = " ".join(data(*IMPORT, "--items", "items.csv").out.split())
        assert ("Of 3 of 5 items nothing is known: --objective item-feature reads all" in drawn) == few
        assert ("describe them with `peter data append shop --items FILE`." in drawn) == few
    assert "report items described 2 of 5" in drawn
    (tmp_path / "newer.csv").write_text("item_id,title,price\nc,Cream,1\n")
    assert "nothing is known" not in data("append", "shop", "--items", "newer.csv").out


def test_the_same_data_gives_the_version_it_made_before(described):
    words = (*IMPORT, "--json")
    assert described(*words, "--items", "items.csv").json["version"] == 1
    bare = described(*words).json
    assert (bare["version"], bare["items_sha256"], "items" in bare["report"]) == (2, None, False)
    assert described(*words).json["version"] == 2
    assert described(*words, "--items", "items.csv").json["version"] == 1


def test_an_append_carries_the_table_on(described, tmp_path):
    (tmp_path / "later.csv").write_text("user_id,item_id,timestamp\nu,new,8\nu,c,9\n")
    before = described("show", "shop", "--json").json
    made = described("append", "shop", "later.csv", "--json").json
    assert (made["version"], made["items"], made["items_sha256"]) == (2, 4, before["items_sha256"])
    assert made["report"]["items"] == {"rows": 3, "described": 3, "columns": KINDS}


def test_a_table_alone_is_appended_once(described, tmp_path):
    (tmp_path / "newer.csv").write_text("price,item_id,title\n2,b,Brown bread\n,c,Cream\n")
    words = ("append", "shop", "--items", "newer.csv", "--json")
    made = described(*words).json
    assert (made["version"], made["parent"], made["events"]) == (2, "shop@1", 3)
    assert (made["report"]["rows"], made["report"]["items"]["rows"]) == (0, 4)
    assert known(tmp_path, "shop@2") == [
        ("a", "Apples", 1.5), ("b", "Brown bread", 2), ("c", "Cream", None), ("new", "Not sold yet", 3),
    ]  # fmt: skip
    assert known(tmp_path, "shop@1")[1] == ("b", "Bread", None)
    assert described(*words).json == made
    assert described("append", "shop", "events.csv", "--items", "newer.csv", "--json").json == made


def test_a_few_rows_are_read_as_the_table_before_them(data, tmp_path):
    genres = "".join(f"i{at},{'Drama|War' if at % 2 else 'Comedy'}\n" for at in range(12))
    (tmp_path / "genres.csv").write_text(f"item_id,genres\na,Drama\n{genres}")
    (tmp_path / "one.csv").write_text("item_id,genres\nb,Drama|Comedy\n")
    data(*IMPORT, "--items", "genres.csv")
    made = data("append", "shop", "--items", "one.csv", "--json").json
    assert made["report"]["items"]["columns"] == {"genres": {"kind": "category", "items": 14}}
    assert known(tmp_path, "shop")[1] == ("b", ["Drama", "Comedy"])


def test_a_log_gets_a_table_later(data, tmp_path):
    data(*IMPORT)
    assert known(tmp_path, "shop") is None
    assert data("append", "shop", "--items", "items.csv", "--json").json["version"] == 2
    assert len(known(tmp_path, "shop")) == 3


def test_the_item_column_may_have_the_events_name(data, tmp_path):
    (tmp_path / "events.csv").write_text(EVENTS.replace("item_id", "sku"))
    for name, content in (("shop", ITEMS.replace("item_id", "sku")), ("mixed", ITEMS)):
        (tmp_path / "items.csv").write_text(content)
        words = ("--name", name, "--item", "sku", "--items", "items.csv", "--json")
        assert data("import", "events.csv", *words).json["report"]["items"]["described"] == 2


def test_another_name_than_the_events_have_is_to_be_changed(data, tmp_path):
    (tmp_path / "odd.csv").write_text(ITEMS.replace("item_id", "product"))
    for words, name in ((IMPORT, "item_id"), ([*IMPORT, "--item", "sku"], "sku")):
        (tmp_path / "events.csv").write_text(EVENTS.replace("item_id", name))
        refused = data(*words, "--items", "odd.csv")
        assert refused.code == 2
        assert refused.err.endswith(f"; rename the one that has the item ids to {name}.\n")
        (tmp_path / "renamed.csv").write_text(ITEMS.replace("item_id", name))
        assert data(*words, "--items", "renamed.csv").code == 0


@pytest.mark.parametrize(
    ("words", "content", "said"),
    [
        (
            IMPORT,
            "item_id,title\n1,x\n2,y\n",
            "none of the log's 2 items",
        ),
        (IMPORT, "item_id,title\na,\nb,\n", "says nothing of item 'a'"),
        (IMPORT, "item_id,price:number\na,x\n", "line 2: 'x' in column"),
        (["append", "shop"], "item_id,title\na,x\n", "has no column price; give it the same columns"),
        (["append", "shop"], "item_id,title,price:text\na,x,1\n", "price holds text, not number"),
        (["append", "shop"], "item_id,title,price\na,x,1\na,y,1\n", "line 2 and line 3 say different"),
    ],
)
def test_a_table_of_no_use_changes_nothing(described, tmp_path, words, content, said):
    before = described("list", "--json").json
    (tmp_path / "odd.csv").write_text(content)
    refused = described(*words, "--items", "odd.csv")
    assert (refused.code, refused.out) == (2, "")
    assert said in refused.err
    assert described("list", "--json").json == before
    assert known(tmp_path, "shop")[0] == ("a", "Apples", 1.5)


def test_an_append_of_nothing_is_refused(described):
    refused = described("append", "shop")
    assert refused.code == 2
    assert "--items FILE" in refused.err


def test_the_table_is_kept_and_checked_like_everything_else(described, peter, tmp_path):
    before = known(tmp_path, "shop")
    assert peter("gc", "--json").json["removed"] == 0
    assert peter("user", "forget", "v").code == 0
    report = described("show", "shop", "--json").json["report"]
    assert (report["items"]["described"], report["forgotten"]["users"]) == (2, 1)
    assert peter("verify", "--json").json["problems"] == []
    assert known(tmp_path, "shop") == before
    assert peter("db", "backup", "copy.db").code == 0
    copy = ("--registry", f"sqlite:///{tmp_path}/copy.db", "--store", ".peter/store")
    assert peter("verify", "--json", *copy).json["problems"] == []
    sha256 = described("show", "shop", "--json", *copy).json["items_sha256"]
    (tmp_path / ".peter" / "store" / "objects" / sha256[:2] / sha256).unlink()
    (problem,) = peter("verify", "--json").json["problems"]
    assert f"{sha256} is missing" in problem
    assert "event_log.items_sha256 of row 1" in problem


def test_another_table_than_the_audit_tells_of_is_noticed(described, peter, tmp_path):
    with sqlite3.connect(tmp_path / ".peter" / "registry.db") as database:
        database.execute("UPDATE event_log SET items_sha256 = NULL")
    database.close()
    (problem,) = peter("verify", "--json").json["problems"]
    assert "items_sha256 of event log shop@1 is not what the audit tells" in problem
