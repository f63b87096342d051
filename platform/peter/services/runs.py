"""What there is to know about runs and their trials."""

from typing import Any

from peter.errors import InputError
from peter.registry import models, runs, trials
from peter.services.workspace import Workspace


def list_runs(workspace: Workspace) -> dict[str, Any]:
    """`{runs: [{id, kind, state, task, started, ended}]}`, newest first."""
    with workspace.registry.read() as session:
        return {"runs": [_line(run) for run in runs.every(session)]}


def show_run(workspace: Workspace, run_id: str) -> dict[str, Any]:
    """One run with its numbers and its trials. Raises UnknownName, InputError."""
    if not run_id.isdecimal():
        raise InputError(f"{run_id!r} is not the id of a run; `peter run list` shows them.")
    with workspace.registry.read() as session:
        run = runs.get(session, int(run_id))
        tried = trials.of(session, run.id)
    shown = [{"state": trial.state, "config": trial.config, "metrics": trial.metrics} for trial in tried]
    return {**_line(run), "params": run.params, "metrics": run.metrics, "error": run.error, "trials": shown}


def _line(run: models.Run) -> dict[str, Any]:
    return {
        "id": run.id,
        "kind": run.kind,
        "state": run.state,
        "task": run.subject,
        "started": run.started_at.isoformat(timespec="seconds"),
        "ended": run.ended_at.isoformat(timespec="seconds") if run.ended_at else None,
    }
