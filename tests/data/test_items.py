"""Item tables: every kind is known from plain values or said by the header, and faults name their line."""

from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from peter.data.items import ItemTable
from peter.errors import CorruptObject, InputError

HEAD = "item_id,title,price,genres,emb\n"
GENRES = ("Drama", "Comedy|Drama", "Comedy; War", "")
ROWS = [f"i{at},Film {at},{at / 4},{GENRES[at % 4]},{at} -{at}.5 1e-3\n" for at in range(16)]
PLAIN = HEAD + "".join(ROWS)
FEW = "item_id,title,price\nb,Bread,1.5\na,Apples,\n"


@pytest.fixture
def read(write: Callable[..., Path]) -> Callable[..., ItemTable]:
    """The table in a file with this content."""
    return lambda content, name="items.csv", **options: ItemTable.read(write(content, name), **options)


def column(table: ItemTable, name: str) -> list[object]:
    return [value.to_list() if isinstance(value, pl.Series) else value for value in table.frame[name]]


def test_plain_values_say_what_their_column_holds(read: Callable[..., ItemTable]) -> None:
    table = read(PLAIN)
    assert dict(table.kinds) == {"title": "text", "price": "number", "genres": "category", "emb": "vector"}
    assert table.frame.schema == {
        "item_id": pl.String,
        "title": pl.String,
        "price": pl.Float64,
        "genres": pl.List(pl.String),
        "emb": pl.Array(pl.Float32, 3),
    }
    assert table.frame["item_id"].to_list() == sorted(f"i{at}" for at in range(16))
    (known,) = table.of(["i2"]).rows()
    assert known[:3] == ("Film 2", 0.5, ["Comedy", "War"])
    assert known[3] == pytest.approx([2, -2.5, 0.001])
    assert table.of(["i3"])["genres"].to_list() == [None]


@pytest.mark.parametrize(
    ("values", "kind", "found"),
    [
        (["7", "007", "1e3"], "number", [7, 7, 1000]),
        (["1 2", "3 4", " 5  6 "], "vector", [[1, 2], [3, 4], [5, 6]]),
        (["1 2", "3 4 5", "6 7"], "text", ["1 2", "3 4 5", "6 7"]),
        (["1 2", "a b", ""], "text", ["1 2", "a b", None]),
        (["x", "1", "2"], "text", ["x", "1", "2"]),
        (["", " ", ""], "text", [None] * 3),
    ],
)
def test_what_is_not_plainly_something_else_is_text(
    read: Callable[..., ItemTable], values: list[str], kind: str, found: list[object]
) -> None:
    table = read("item_id,x\n" + "".join(f"{at},{value}\n" for at, value in enumerate(values)))
    assert dict(table.kinds) == {"x": kind}
    assert column(table, "x") == found


@pytest.mark.parametrize(
    ("distinct", "items", "kind"),
    [(4, 16, "category"), (5, 16, "text"), (256, 1024, "category"), (257, 2048, "text")],
)
def test_words_that_repeat_are_categories(
    read: Callable[..., ItemTable], distinct: int, items: int, kind: str
) -> None:
    table = read("item_id,x\n" + "".join(f"{at},word {at % distinct}\n" for at in range(items)))
    assert dict(table.kinds) == {"x": kind}


def test_a_header_says_what_values_do_not(read: Callable[..., ItemTable]) -> None:
    table = read("item_id,zip:category,dc:title:text,x:vector,y:number\n1,07,12,3,4\n2,|a; a|,,,\n")
    assert dict(table.kinds) == {"zip": "category", "dc:title": "text", "x": "vector", "y": "number"}
    assert [column(table, name) for name in table.kinds] == [
        [["07"], ["a"]],
        ["12", None],
        [[3.0], None],
        [4.0, None],
    ]


def test_recbole_types_say_what_their_columns_hold(read: Callable[..., ItemTable]) -> None:
    head = "item_id:token\tname:token_seq\tcity:token\tclass:token_seq\tyear:float\temb:float_seq\n"
    lines = (f"{at}\t{at} films {at}\tNew York\tDrama War\t{at}\t1 2\n" for at in range(8))
    table = read(head + "".join(lines), "items.item")
    kinds = ("text", "category", "category", "number", "vector")
    assert tuple(table.kinds.items()) == tuple(
        zip(("name", "city", "class", "year", "emb"), kinds, strict=True)
    )
    assert table.of(["3"]).drop("emb").rows() == [("3 films 3", ["New York"], ["Drama", "War"], 3.0)]


def test_lists_in_parquet_are_vectors_and_categories(
    read: Callable[..., ItemTable], write: Callable[..., Path], tmp_path: Path
) -> None:
    table = read(PLAIN)
    path = write("", "items.parquet")
    loose = table.frame.with_columns(pl.col("emb").arr.to_list().cast(pl.List(pl.Float64)))
    for frame in (table.frame, loose.sample(fraction=1, shuffle=True, seed=0)):
        frame.write_parquet(path)
        again = ItemTable.read(path)
        for one, name in ((table, "one"), (again, "other")):
            one.save(tmp_path / name)
        assert (tmp_path / "one").read_bytes() == (tmp_path / "other").read_bytes()
    pl.DataFrame({"item_id": [7, 8], "tags": [["a", "b"], []], "n": [1, None]}).write_parquet(path)
    assert ItemTable.read(path).frame.rows() == [("7", ["a", "b"], 1.0), ("8", None, None)]


def test_the_ids_may_be_called_what_the_events_call_them(read: Callable[..., ItemTable]) -> None:
    for name in ("movie_id", "item_id"):
        assert read(f"title,{name}\nBread,b\n", item="movie_id").frame.columns == ["item_id", "title"]


def test_known_kinds_hold_for_columns_that_say_nothing(read: Callable[..., ItemTable]) -> None:
    table = read("item_id,genres,price:text\na,Drama,1\n", known={"genres": "category", "price": "number"})
    assert dict(table.kinds) == {"genres": "category", "price": "text"}


def test_equal_rows_of_an_item_count_once(read: Callable[..., ItemTable]) -> None:
    assert read(PLAIN + ROWS[3] + ROWS[5]).frame.equals(read(PLAIN).frame)


BROKEN = {
    "another item twice": (PLAIN + "i3,Film 4,1,,\n", ["line 5 and line 18", "'i3'", "keep one"]),
    "no ids": ("id,title\n1,a\n", ["no column item_id, only id, title", "to item_id."]),
    "nothing but ids": ("item_id\n1\n", ["nothing else", "more columns"]),
    "empty id": ("item_id,x\na,1\n,2\n", ["line 3", "column item_id", "remove the row"]),
    "blanks around an id": ("item_id,x\na,1\n b,2\n", ["line 3", "' b'", "blanks"]),
    "two of a name": ("item_id,x:text,x:number\na,1,2\n", ["two columns called 'x'", "rename one"]),
    "unknown kind": ("item_id,x:txt\na,1\n", ["'txt'", "'x'", "text, category, number, vector"]),
    "no number": ("item_id,x:number\na,1\n\nb,cheap\n", ["line 4", "'cheap'", "finite number", "x:text"]),
    "not finite": ("item_id,x\na,1\nb,nan\n", ["line 3", "'nan'", "finite number", "leave it empty"]),
    "too large": ("item_id,x:vector\na,1 1e300\n", ["line 2", "'1 1e300'", "finite numbers"]),
    "no vector": ("item_id,x:vector\na,1 2\nb,1 x\n", ["line 3", "'1 x'", "finite numbers"]),
    "short vector": ("item_id,x:vector\na,1 2\nb,3\n", ["line 3", "'3'", "as many as above"]),
    "ragged": ("item_id,x\na,1\nb\n", ["line 3", "1 field "]),
    "no rows": ("item_id,x\n", ["no rows"]),
    "Latin-1": (b"item_id,x\na,\xe9\n", ["UTF-8", "iconv"]),
    "NUL": (b"item_id,x\na,\0\n", ["line 2", "NUL"]),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_a_broken_table_is_refused_in_one_sentence(read: Callable[..., ItemTable], fault: str) -> None:
    content, words = BROKEN[fault]
    with pytest.raises(InputError) as caught:
        read(content)
    message = str(caught.value)
    assert "items.csv" in message
    assert "\n" not in message
    assert [word for word in words if word not in message] == []


@pytest.mark.parametrize(
    ("column", "name", "words"),
    [
        ([[1.0, 2.0], [3.0, None]], "x", "row 2: '3.0 None' in column x is not finite numbers"),
        ([[1.0, 2.0], [3.0]], "x", "row 2: '3.0' in column x is not finite numbers"),
        ([["a"], ["b"]], "x:text", "holds lists in column x, which are no text; call them x:category"),
        ([[[1.0]], [[2.0]]], "x", "holds lists of List.* in column x"),
    ],
)
def test_a_broken_list_is_refused(
    write: Callable[..., Path], column: list[object], name: str, words: str
) -> None:
    path = write("", "items.parquet")
    pl.DataFrame({"item_id": ["a", "b"], name: column}).write_parquet(path)
    with pytest.raises(InputError, match=words):
        ItemTable.read(path)


def test_a_saved_table_comes_back_with_its_kinds(read: Callable[..., ItemTable], tmp_path: Path) -> None:
    table, path = read(PLAIN), tmp_path / "saved"
    table.save(path)
    loaded, saved = ItemTable.load(path), path.read_bytes()
    assert loaded.frame.equals(table.frame)
    assert loaded.frame.schema == table.frame.schema
    assert tuple(loaded.kinds.items()) == tuple(table.kinds.items())
    shuffled = read(HEAD + "".join(reversed(ROWS)))
    for same in (loaded, shuffled, table.merged(table)):
        same.save(path)
        assert path.read_bytes() == saved


def test_what_is_no_saved_table_is_corrupt(read: Callable[..., ItemTable], tmp_path: Path) -> None:
    path, frame = tmp_path / "saved", read(PLAIN).frame
    path.write_text("no Parquet")
    with pytest.raises(CorruptObject, match="peter verify"):
        ItemTable.load(path)
    for wrong in (
        frame.drop("item_id"),
        frame.select("item_id"),
        frame.reverse(),
        pl.concat([frame[:1], frame]),
        frame.with_columns(pl.lit(1).alias("n")),
        frame.with_columns(pl.col("emb").cast(pl.Array(pl.Float64, 3))),
    ):
        wrong.write_parquet(path)
        with pytest.raises(CorruptObject, match="not an item table"):
            ItemTable.load(path)


def test_newer_rows_replace_those_of_the_same_item(read: Callable[..., ItemTable]) -> None:
    merged = read(FEW).merged(read("price:number,item_id,title\n,b,Brot\n3,c,Cream\n"))
    assert merged.frame.rows() == [("a", "Apples", None), ("b", "Brot", None), ("c", "Cream", 3.0)]
    assert tuple(merged.kinds) == ("title", "price")


def test_a_newer_table_may_know_nothing_of_a_column(read: Callable[..., ItemTable]) -> None:
    old = read(PLAIN)
    for header in (HEAD, "item_id,title,price:text,genres:text,emb:vector\n"):
        merged = old.merged(read(header + "new,New,,,\n", known=old.kinds))
        assert merged.frame.schema == old.frame.schema
        assert merged.of(["new"]).rows() == [("New", None, None, None)]


@pytest.mark.parametrize(
    ("newer", "words"),
    [
        ("item_id,title\na,A\n", "it has no column price;"),
        ("item_id,title,price,brand\na,A,1,B\n", "its column brand is new;"),
        ("item_id,title,price\na,A,1 2\n", "its column price holds vectors of 2, not number;"),
    ],
)
def test_other_columns_are_refused_by_name(read: Callable[..., ItemTable], newer: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        read(FEW).merged(read(newer))


def test_rows_come_in_the_order_that_is_asked_for(read: Callable[..., ItemTable]) -> None:
    asked = read(FEW).of(["b", "unknown", "a", "b"])
    assert asked.rows() == [("Bread", 1.5), (None, None), ("Apples", None), ("Bread", 1.5)]
    assert read(FEW).of([]).shape == (0, 2)


def test_the_report_counts_what_is_known(read: Callable[..., ItemTable]) -> None:
    assert read(FEW + "x,,\n").report(["a", "x", "y"]) == {
        "rows": 3,
        "described": 1,
        "columns": {"title": {"kind": "text", "items": 2}, "price": {"kind": "number", "items": 1}},
    }
