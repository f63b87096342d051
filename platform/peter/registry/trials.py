"""Trials: the configurations that a tuning run tried; the audit has the run, not its trials."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from peter.errors import UnknownName
from peter.registry.columns import utc_now
from peter.registry.models import Trial


def begin(session: Session, run_id: int, name: str, config: dict[str, Any]) -> Trial:
    """Note that a trial began, or began again: what it had shown before does not count."""
    trial = _named(session, run_id, name)
    if trial is None:
        trial = Trial(run_id=run_id, name=name, state="running", config=config)
        session.add(trial)
        session.flush()
        return trial
    trial.state, trial.config, trial.metrics, trial.error = "running", config, None, None
    trial.started_at = trial.heartbeat_at = utc_now()
    trial.ended_at = None
    return trial


def update(
    session: Session,
    run_id: int,
    name: str,
    state: str,
    metrics: dict[str, Any] | None = None,
    error: str | None = None,
    config: dict[str, Any] | None = None,
) -> Trial:
    """Note how a trial stands; a config and metrics that are left out stay as they were.

    Raises:
        UnknownName: the run has no such trial.
    """
    trial = _named(session, run_id, name)
    if trial is None:
        raise UnknownName("trial", name, [other.name for other in of(session, run_id)])
    trial.state, trial.error, trial.heartbeat_at = state, error, utc_now()
    trial.metrics = metrics if metrics is not None else trial.metrics
    trial.config = config if config is not None else trial.config
    trial.ended_at = None if state == "running" else trial.heartbeat_at
    return trial


def of(session: Session, run_id: int) -> Sequence[Trial]:
    """The trials of a run in the order they began."""
    return session.scalars(select(Trial).where(Trial.run_id == run_id).order_by(Trial.id)).all()


def _named(session: Session, run_id: int, name: str) -> Trial | None:
    return session.scalar(select(Trial).where(Trial.run_id == run_id, Trial.name == name))
