"""Ray Train, kept quiet: processes that train one model together, begun again when one of them is lost."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
from ray.train import FailureConfig, RunConfig, ScalingConfig, get_context
from ray.train.torch import TorchTrainer, get_device
from ray.util.queue import Empty, Queue
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from peter.distributed.cluster import cluster, cores_each
from peter.errors import PeterError
from peter.training.team import Team

RETRIES = 3  # times the team is begun anew that lost a member
PATIENCE = 0.5  # seconds between two looks at whether it is still there

Tell = Callable[[Any], None]
Work = Callable[[Any, Team, Tell], None]


@dataclass(frozen=True)
class _Fault:
    """The sentence of work that cannot be done; doing it again would not help."""

    sentence: str


def together(
    work: Work,
    job: Any,
    workers: int,
    threads: int,
    directory: Path,
    address: str | None,
    hear: Callable[[Any], None],
) -> None:
    """Run `work(job, team, tell)` in every member of a team of processes, here or on a cluster.

    Args:
        work: importable; it goes on from what it left when it is begun again, as its first call may die.
        job: what it needs, picklable: names and addresses, never tensors.
        workers: members of the team; with as many GPUs on the cluster each has one, and NCCL connects them.
        threads: cores that a member keeps busy at most.
        directory: Ray's own files; on a cluster all its machines must see it.
        address: of a cluster; None: this machine.
        hear: gets, in this process, what the leader tells.

    Raises:
        InputError: fewer cores than workers.
        PeterError: raised by `work`, or members were lost again and again.
    """
    with cluster(address):
        each = cores_each(workers, threads)
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        # beside the driver, so that no other machine's loss takes it along
        queue = Queue(actor_options={"num_cpus": 0, "scheduling_strategy": here})
        scaling = ScalingConfig(
            num_workers=workers,
            use_gpu=ray.cluster_resources().get("GPU", 0) >= workers,
            resources_per_worker={"CPU": each},
        )
        config = {"work": work, "job": job, "threads": each, "queue": queue}
        fit = ray.remote(num_cpus=0, max_retries=0, scheduling_strategy=here)(_fit)
        _follow(fit.remote(config, scaling, str(directory.absolute())), queue, hear)


def _fit(config: dict[str, Any], scaling: ScalingConfig, directory: str) -> None:
    """In a process of its own: the trainer would take Ctrl-C, and in a thread not survive Ray's shutdown."""
    TorchTrainer(
        _member,
        train_loop_config=config,
        scaling_config=scaling,
        run_config=RunConfig(
            name="team", storage_path=directory, failure_config=FailureConfig(max_failures=RETRIES)
        ),
    ).fit()


def _member(config: dict[str, Any]) -> None:
    context, queue = get_context(), config["queue"]
    team = Team(context.get_world_rank(), context.get_world_size(), config["threads"], get_device())
    try:
        config["work"](config["job"], team, queue.put if team.leads else _unheard)
    except PeterError as error:  # any other may be the loss of a member, and is the trainer's to judge
        queue.put(_Fault(str(error)))


def _unheard(message: Any) -> None:
    pass


def _follow(fitting: Any, queue: Queue, hear: Callable[[Any], None]) -> None:
    """Pass messages on until the team is done."""
    while (running := bool(ray.wait([fitting], timeout=0)[1])) or not queue.empty():
        try:
            message = queue.get(timeout=PATIENCE if running else None)
        except Empty:
            continue
        if isinstance(message, _Fault):
            raise PeterError(message.sentence)
        hear(message)
    try:
        ray.get(fitting)
    except ray.exceptions.RayError as error:
        raise PeterError(
            f"The workers failed or were lost {RETRIES + 1} times ({type(error).__name__}); "
            "look at the machines, then go on with the run."
        ) from None
