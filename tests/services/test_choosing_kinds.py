"""Which kind a label file is of: said, or plain, or asked for in one sentence."""

from collections.abc import Callable
from pathlib import Path

import pytest

from peter.data.labels import LabelTable, read_labels
from peter.errors import InputError
from peter.services.task.kinds import choose


@pytest.fixture
def table(tmp_path: Path) -> Callable[[str], LabelTable]:
    def table(rows: str) -> LabelTable:
        path = tmp_path / "labels.csv"
        path.write_text(f"user_id,gender\n{rows}")
        return read_labels(path)

    return table


GENDERS = "".join(f"u{at},{'FM'[at % 2]}\n" for at in range(40))


def test_plain_classes_are_classification(table) -> None:
    assert choose(table(GENDERS), None).name == "classification"


@pytest.mark.parametrize("name", [None, "classification"])
def test_a_few_conflicting_rows_stay_an_error_that_names_them(table, name: str | None) -> None:
    with pytest.raises(
        InputError, match=r"one user in lines 2 and 42; keep one gender a user, or give --kind .*tags.* if"
    ):
        choose(table(GENDERS + "u0,M\n"), name)


def test_users_with_several_answers_have_tags(table) -> None:
    rows = "".join(f"u{at},jazz\nu{at},{'rock' if at % 3 else 'folk'}\n" for at in range(40))
    assert choose(table(rows), None).name == "tags"
    assert choose(table(GENDERS + "u0,M\n"), "tags").name == "tags"


def test_many_different_numbers_are_regression(table) -> None:
    rows = "".join(f"u{at},{at}.5\n" for at in range(90))
    assert choose(table(rows), None).name == "regression"


def test_what_is_not_plain_is_asked_for(table) -> None:
    with pytest.raises(InputError, match=r"'gender' could be of no kind for certain; say which with --kind "):
        choose(table("".join(f"u{at},{at}\n" for at in range(9))), None)
    with pytest.raises(InputError, match="one user in lines 2 and 3"):
        choose(table("u0,1.5\nu0,2.5\nu1,3.5\n"), "regression")
