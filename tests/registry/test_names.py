"""Names and references: what is allowed, what is refused, and what the refusal says."""

import duckdb
import pytest

from peter.errors import InputError, NameTaken
from peter.registry import names, references
from peter.registry.references import Reference


@pytest.mark.parametrize("name", ["a", "gender", "age_2", "life_status", "users", "p_p", "a" * 63])
def test_good_names(name: str) -> None:
    names.check_task(name, ["income", "tags"])


@pytest.mark.parametrize(
    "name",
    [
        "", "Gender", "2age", "_age", "age-2", "age 2", "age\n", "a" * 64, "ä", "\uff41ge", "age\x00",
        "../age", "a.b", "\u202eage", "age;drop", "-x", "a@1",
    ],
)  # fmt: skip
def test_misspelt_names(name: str) -> None:
    with pytest.raises(InputError, match="use up to 63 of a-z, 0-9 and _"):
        names.check_task(name, [])


@pytest.mark.parametrize("name", ["con", "nul", "aux", "com1", "lpt9"])
def test_device_names(name: str) -> None:
    with pytest.raises(InputError, match="Windows"):
        names.check("a backbone", name)
    with pytest.raises(InputError, match="Windows"):
        names.check_task(name, [])


@pytest.mark.parametrize("name", ["select", "order", "user", "null", "true", "in", "between", "current_date"])
def test_words_of_sql(name: str) -> None:
    with pytest.raises(InputError, match="word of SQL"):
        names.check_task(name, [])
    names.check("an event log", name)  # only tasks become columns


def test_every_allowed_name_can_be_a_column_in_a_where_expression() -> None:
    connection = duckdb.connect()
    words = [row[0] for row in connection.execute("SELECT keyword_name FROM duckdb_keywords()").fetchall()]
    for word in words:
        try:
            names.check_task(word, [])
        except InputError:
            continue
        table = f'(SELECT 12345 AS "{word}", 1 AS "{word}_p")'
        found = connection.execute(f"SELECT count(*) FROM {table} WHERE {word} = 12345 AND {word}_p > 0")
        assert found.fetchall() == [(1,)], word
    assert len(words) > 300


@pytest.mark.parametrize(
    ("name", "others", "kind", "sentence"),
    [
        ("gender", ["gender"], NameTaken, "There is a task called 'gender'"),
        ("gender_p", ["age", "gender"], InputError, "column 'gender_p' belongs to task 'gender'"),
        ("gender", ["gender_p"], InputError, "column 'gender_p' belongs to task 'gender_p'"),
        ("user_id", [], InputError, "column 'user_id' belongs to every profile"),
    ],
)
def test_columns_that_would_collide(
    name: str, others: list[str], kind: type[InputError], sentence: str
) -> None:
    with pytest.raises(kind, match=sentence):
        names.check_task(name, others)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("gender", Reference("gender")),
        ("gender@3", Reference("gender", version=3)),
        ("gender@champion", Reference("gender", alias="champion")),
        ("movies@10", Reference("movies", version=10)),
    ],
)
def test_references(text: str, meant: Reference) -> None:
    assert references.parse(text) == meant
    assert str(meant) == text


@pytest.mark.parametrize(
    "text", ["", "@1", "gender@", "gender@0", "gender@-1", "gender@1@2", "gender@3\n", "G@1"]
)
def test_things_that_are_no_reference(text: str) -> None:
    with pytest.raises(InputError, match="write it as NAME, NAME@3 or NAME@champion"):
        references.parse(text)
