"""Users who are new in a domain: nothing that happened from their first choice there on is input."""

from pathlib import Path

import polars as pl
import pytest
from small_workspace import url

from peter.data.labels import read_labels
from peter.registry import backbones
from peter.services.patch.recipes import Recipe
from peter.services.patch.requests import Request
from peter.services.task.kinds import choose
from peter.services.workspace import Workspace

KEPT = 5  # events before the first choice


@pytest.fixture
def request_of(pretrained: Path):
    """The request of a task on a label file; nothing is written."""
    workspace = Workspace.open(url(pretrained))

    def read(path: Path) -> Request:
        table = read_labels(path)
        with workspace.registry.read() as session:
            row = backbones.only(session)
        return Request.read(workspace, "next", table, row, Recipe.make(choose(table, None)))

    yield read
    workspace.registry.dispose()


def test_input_ends_before_a_user_s_earliest_choice(request_of, pretrained: Path, tmp_path: Path) -> None:
    """An event at the very time of it is none of the input; later choices take nothing away."""
    events = pl.read_csv(pretrained / "events.csv", infer_schema=False).cast({"timestamp": pl.Int64})
    by_user = events.sort("timestamp", maintain_order=True).group_by("user_id", maintain_order=True)
    times = by_user.agg(first=pl.col("timestamp").get(KEPT), last=pl.col("timestamp").max())
    rows = [
        line
        for at, (user, first, last) in enumerate(times.iter_rows())
        for line in (f"{user},c{at % 3},{last + 9}", f"{user},c{3 + at % 2},{first}")
    ]
    (tmp_path / "choices.csv").write_text("\n".join(["user_id,item_id,timestamp", *rows]) + "\n")
    request = request_of(tmp_path / "choices.csv")
    users = request.users
    for part in (users.train, users.valid, users.test):
        assert set(part.histories.lengths.tolist()) == {KEPT}
        assert part.targets.shape == (len(part.histories), 2)
    ids = request.log.vocabulary.item_ids
    items = events.sort("timestamp", maintain_order=True).group_by("user_id", maintain_order=True).head(KEPT)
    expected = sorted(tuple(row) for row in items.group_by("user_id").agg("item_id")["item_id"].to_list())
    found = [
        tuple(ids[item] for item in one.tolist())
        for part in (users.train, users.valid, users.test)
        for one in part.histories.items.split(part.histories.lengths.tolist())
    ]
    assert sorted(found) == expected
