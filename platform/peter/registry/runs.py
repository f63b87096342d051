"""Runs: what is being executed, by which process, and how it ended."""

import os
import socket
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from peter.errors import InputError, UnknownName
from peter.registry import audit
from peter.registry.columns import utc_now
from peter.registry.models import Run, Trial

SLACK = 2.0  # seconds by which clocks may differ on when a process began


def start(session: Session, kind: str, subject: str, params: dict[str, Any], actor: str) -> Run:
    """Register a run of this process; its id exists before any of its work does."""
    run = Run(
        kind=kind,
        subject=subject,
        state="running",
        actor=actor,
        host=socket.gethostname(),
        pid=os.getpid(),
        params=params,
    )
    session.add(run)
    session.flush()
    audit.append(session, actor, "run.start", f"run {run.id}", after={"kind": kind, "subject": subject})
    return run


def resume(session: Session, run_id: int, actor: str) -> Run:
    """Take a run that was stopped or failed up again in this process.

    Raises:
        UnknownName: there is no such run.
        InputError: it is under way, or done.
    """
    run = get(session, run_id)
    session.refresh(run, with_for_update=True)
    if run.state not in ("interrupted", "failed"):
        raise InputError(
            f"Run {run_id} is a {run.kind} that is {run.state}; see `peter run list` for others."
        )
    before = {"state": run.state}
    run.state, run.host, run.pid, run.actor = "running", socket.gethostname(), os.getpid(), actor
    run.error = run.ended_at = None
    run.heartbeat_at = utc_now()
    audit.append(session, actor, "run.resume", f"run {run.id}", before, {"state": run.state})
    return run


def heartbeat(session: Session, run_id: int) -> None:
    """Note that a run is alive; a sign of life is no change, so the audit has none of it."""
    session.execute(update(Run).where(Run.id == run_id).values(heartbeat_at=utc_now()))


def finish(session: Session, run_id: int, metrics: dict[str, Any]) -> Run:
    """End a run that did all it was to do."""
    return _end(session, run_id, "done", metrics=metrics)


def fail(session: Session, run_id: int, error: str) -> Run:
    """End a run that could not go on; `error` is the sentence that the user got."""
    return _end(session, run_id, "failed", error=error)


def interrupt(session: Session, run_id: int, error: str) -> Run:
    """End a run that was stopped and can be resumed."""
    return _end(session, run_id, "interrupted", error=error)


def interrupt_dead(session: Session) -> list[Run]:
    """Mark the unfinished runs of this host whose processes are gone, and give them."""
    here = select(Run).where(Run.state == "running", Run.host == socket.gethostname()).order_by(Run.id)
    return [
        interrupt(session, run.id, f"process {run.pid} ended without a word")
        for run in session.scalars(here).all()
        if not _alive(run)
    ]


def withhold(session: Session, text: str) -> None:
    """Remove a text from the errors of all runs and trials."""
    for table in (Run, Trial):
        telling = table.error.contains(text, autoescape=True)
        session.execute(update(table).where(telling).values(error=func.replace(table.error, text, "..")))


def get(session: Session, run_id: int) -> Run:
    """The run of that id.

    Raises:
        UnknownName: there is none.
    """
    run = session.get(Run, run_id) if run_id < 1 << 63 else None  # no database counts further
    if run is None:
        newest = session.scalars(select(Run.id).order_by(Run.id.desc()).limit(10))
        raise UnknownName("run", str(run_id), map(str, newest))
    return run


def every(session: Session) -> Sequence[Run]:
    """All runs, newest first."""
    return session.scalars(select(Run).order_by(Run.id.desc())).all()


def _end(
    session: Session, run_id: int, state: str, metrics: dict[str, Any] | None = None, error: str | None = None
) -> Run:
    run = get(session, run_id)
    session.refresh(run, with_for_update=True)
    if run.state in ("done", "failed"):  # its result or its error is kept, whatever happened afterwards
        return run
    before = {"state": run.state}
    run.state, run.metrics, run.error, run.ended_at = state, metrics, error, utc_now()
    session.execute(
        update(Trial)
        .where(Trial.run_id == run_id, Trial.state == "running")
        .values(state="interrupted", ended_at=run.ended_at)
    )
    audit.append(session, run.actor, f"run.{state}", f"run {run.id}", before, {"state": state})
    return run


def _alive(run: Run) -> bool:
    """Whether its process is there still, and not another that was given its number since."""
    try:
        os.kill(run.pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # somebody else's process, but there
        pass
    began = _began(run.pid)
    return began is None or began < run.heartbeat_at.timestamp() + SLACK


def _began(pid: int) -> float | None:
    """When a process began, in seconds of the wall's clock; None where the system does not tell."""
    try:
        after_name = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    except OSError:
        return None
    since_boot = int(after_name[19]) / os.sysconf("SC_CLK_TCK")  # `starttime`, field 22 of proc_pid_stat(5)
    return time.time() - time.clock_gettime(time.CLOCK_BOOTTIME) + since_boot
