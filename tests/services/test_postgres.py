"""The whole path with the registry on a real PostgreSQL."""

from pathlib import Path

from small_workspace import PRETRAIN, SHAPE, add_task, write_files

from peter.progress import Silent
from peter.services.backbone.pretrain import pretrain
from peter.services.event_log.events import import_events
from peter.services.integrity.upkeep import collect
from peter.services.integrity.verify import verify
from peter.services.profile.cohorts import query
from peter.services.profile.materialize import materialize
from peter.services.profile.profiles import get
from peter.services.task.tasks import list_tasks
from peter.services.workspace import Workspace


def test_from_the_log_to_a_profile(postgres_url: str, tmp_path: Path) -> None:
    write_files(tmp_path)
    workspace = Workspace.create(postgres_url, tmp_path / "store")
    import_events(workspace, [tmp_path / "events.csv"], "clicks", None, None, None, 1, 1, Silent())
    pretrain(workspace, "clicks", "clicks", SHAPE, PRETRAIN, Silent())
    for task in ("gender", "tier"):
        report = add_task(workspace, task, tmp_path / f"{task}.csv")["report"]
        assert (report["version"], report["promoted"]) == (1, True)
    assert [task["champion"] for task in list_tasks(workspace)["tasks"]] == [1, 1]
    materialize(workspace, None, Silent())
    (user,) = query(workspace, "tier_p > 0", 1)["users"]
    (answers,) = get(workspace, [user["user_id"]], live=False)["users"]
    assert {task: answer["value"] for task, answer in answers["tasks"].items()} == {
        task: user[task] for task in ("gender", "tier")
    }
    assert collect(workspace) == {"removed": 0, "bytes": 0}
    assert verify(workspace, quick=False, progress=Silent())["problems"] == []
    workspace.registry.dispose()
