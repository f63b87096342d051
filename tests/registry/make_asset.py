"""Writes `assets/<revision>.db`, a small registry of today: run once for a new revision, commit the file.

python tests/registry/make_asset.py
"""

from datetime import UTC, datetime
from pathlib import Path

import registry_rows as rows
from sqlalchemy.orm import Session

from peter.registry import aliases, event_logs, patches, profiles, runs, schema, tasks, trials
from peter.registry.backup import backup
from peter.registry.database import Registry


def fill(session: Session) -> None:
    """Two tasks, one of them unfinished; two versions of the other, tuned, promoted and scored; two logs."""
    first = rows.world(session)
    event_logs.add(session, rows.event_log("described", items_sha256=rows.sha("items")), "ann")
    tasks.add(session, rows.task("age"), "ann")
    run = runs.start(session, "tune", "gender", {"trials": 1}, "ann")
    trials.begin(session, run.id, "trial_1", {"learning_rate": 0.001})
    trials.update(session, run.id, "trial_1", "done", {"accuracy": 0.8})
    runs.finish(session, run.id, {"accuracy": 0.8})
    second = patches.add(session, rows.patch(first.label_set, first.backbone, "second"), "ann")
    aliases.move(session, second, aliases.CHAMPION, "ann", "better by .03")
    log = second.backbone.event_log
    profiles.replace(session, second, log, rows.sha("profile"), 943, datetime.now(UTC), "ann")


def main() -> None:
    """Make the file of the newest revision."""
    target = Path(__file__).parent / "assets" / f"{schema.revisions()[-1]}.db"
    draft = target.with_suffix(".draft")
    target.unlink(missing_ok=True)
    registry = Registry(f"sqlite:///{draft}")
    schema.upgrade(registry)
    registry.write(fill)
    backup(registry, target)
    registry.dispose()
    for left in target.parent.glob("*.draft*"):
        left.unlink()


if __name__ == "__main__":
    main()
