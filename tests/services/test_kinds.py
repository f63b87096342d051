"""Which kind a label file is of: said, or plain, or asked for in one sentence."""

from collections.abc import Callable
from pathlib import Path

import pytest

from peter.data.labels import LabelTable, read_labels
from peter.errors import InputError
from peter.services.kinds import choose


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
    with pytest.raises(InputError, match=r"one user in lines 2 and 42; keep one gender a user"):
        choose(table(GENDERS + "u0,M\n"), name)
