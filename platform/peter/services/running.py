"""A run's life in the registry: registered before its work begins, ended whatever happens to it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy.orm import Session

from peter.errors import Interrupted, kept
from peter.registry import runs
from peter.registry.models import Run
from peter.services.workspace import Workspace

RESUME = {  # what to type to go on with a run, by its kind, of the kinds that can
    "pretrain": "peter backbone pretrain --resume {run}",
    "tune": "peter tune --resume {run}",
}


@contextmanager
def running(
    workspace: Workspace, kind: str, subject: str, params: dict[str, Any], again: str
) -> Iterator[Run]:
    """A new run around the block, which ends it by `runs.finish` in the transaction of its result.

    Args:
        again: what to type after an interruption, `{run}` standing for the run's id.
    """

    def start(session: Session) -> Run:
        runs.interrupt_dead(session)
        return runs.start(session, kind, subject, params, workspace.actor)

    with ended(workspace, workspace.registry.write(start), again) as run:
        yield run


@contextmanager
def ended(workspace: Workspace, run: Run, again: str) -> Iterator[Run]:
    """See that the registry learns of a block that does not reach its end.

    Raises:
        Interrupted: the block was stopped by a signal.
    """
    try:
        yield run
    except (KeyboardInterrupt, Interrupted):  # the latter from a run inside this one
        workspace.registry.write(lambda session: runs.interrupt(session, run.id, "stopped by the user"))
        raise Interrupted(f"Run {run.id} was stopped; go on with `{again.format(run=run.id)}`.") from None
    except Exception as error:
        said = kept(error)
        workspace.registry.write(lambda session: runs.fail(session, run.id, said))
        raise
