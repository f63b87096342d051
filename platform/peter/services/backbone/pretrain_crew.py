"""Pre-training by several processes: each opens the plan for itself, and the driver hears how it goes."""

from collections.abc import Callable

from peter import faults
from peter.distributed.relay import Listener, Teller, Word
from peter.progress import Progress
from peter.registry import models, runs
from peter.services.backbone.pretrain_plan import Job, Plan
from peter.services.crew import Crew
from peter.services.workspace import Address, Workspace
from peter.training.position import EpochReport
from peter.training.pretrain import pretrain
from peter.training.team import Team

CHECKPOINT = "checkpoint.safetensors"  # in the run's directory


def train_together(workspace: Workspace, plan: Plan, run: models.Run, crew: Crew, progress: Progress) -> None:
    """Train up to a checkpoint behind the last epoch: whoever reads it has nothing left to train.

    Raises:
        InputError: fewer cores than workers.
        PeterError: the training failed, or workers were lost again and again.
    """
    from peter.distributed.team import together  # Ray, for those who need it

    listener, directory = Listener(progress), workspace.run_directory(run.id)

    def hear(message: EpochReport | Word) -> None:
        if isinstance(message, EpochReport):
            noted(workspace, run.id, message)
        else:
            listener.hear(message)

    job, threads = (Address.of(workspace), run.id), plan.config.threads
    try:
        together(_member, job, crew.workers, threads, directory, crew.address, hear)
    finally:
        listener.close()


def noted(workspace: Workspace, run_id: int, report: EpochReport) -> None:
    """An epoch is done, so the run is alive."""
    workspace.registry.write(lambda session: runs.heartbeat(session, run_id))
    faults.reach(f"backbone.pretrain:epoch{report.epoch}")


def _member(job: tuple[Address, int], team: Team, tell: Callable[[EpochReport | Word], None]) -> None:
    address, run_id = job
    workspace = address.open()
    with workspace.registry.read() as session:
        plan = Plan.of(session, runs.get(session, run_id))
    checkpoint, mine = workspace.run_directory(run_id) / CHECKPOINT, Job.begin(workspace, plan)
    for report in pretrain(mine.model, mine.learn, mine.valid, plan.config, checkpoint, Teller(tell), team):
        tell(report)
