"""Versions of several tasks at once: trained side by side, registered one by one as each is ready."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any

from peter.data.labels import LabelTable
from peter.errors import Interrupted, PeterError, kept
from peter.methods import method
from peter.progress import Progress, Silent
from peter.registry import backbones, runs
from peter.registry.models import Run
from peter.services.patch import older
from peter.services.patch.recipes import Recipe
from peter.services.patch.requests import Request
from peter.services.version.versions import Made, answered, begun, make, registered, trained
from peter.services.workspace import Address, Workspace
from peter.task import Schema


@dataclass(frozen=True)
class Order:
    """A request as it travels to another process: names and labels, and the frozen tensors by their hash."""

    workspace: Address
    name: str
    table: LabelTable
    schema: Schema
    backbone: str
    recipe: Recipe
    seeds: int
    twin: bool
    warm: dict[str, Any] | None
    reads: list[dict[str, Any]] | None  # as they stood when it was asked for; None: what there is by then

    @classmethod
    def of(cls, workspace: Workspace, request: Request) -> "Order":
        """That of a request."""
        return cls(
            Address.of(workspace), request.name, request.table, request.schema, request.base.reference,
            request.recipe, request.seeds, request.twin,
            request.warm.to_json() if request.warm else None, older.told(request.reads),
        )  # fmt: skip

    def request(self) -> Request:
        """The request again, read from the registry and the store."""
        workspace = self.workspace.open()
        with workspace.registry.read() as session:
            row = backbones.get(session, self.backbone)
        reads = None if self.reads is None else older.named(workspace.objects, self.reads)
        request = Request.read(
            workspace, self.name, self.table, row, self.recipe, self.schema, self.seeds, self.twin, reads
        )
        warm = older.WarmStart.of(workspace.objects, self.warm) if self.warm else None
        return replace(request, warm=warm)


def work(order: Order) -> Made:
    """Train what is ordered; in whichever process."""
    return trained(order.workspace.open(), order.request(), Silent())


def make_each(
    workspace: Workspace,
    requests: Sequence[Request],
    promote: bool,
    address: str | None,
    again: str,
    progress: Progress,
) -> list[dict[str, Any]]:
    """As `versions.make` for each request; one alone is made in this process, unless a cluster is named.

    Args:
        again: the command to type if this one is stopped: what is registered by then is not made twice.

    Returns:
        In the order of the requests the task's document, or `{name, error}` of one that failed: the others
        are made all the same.

    Raises:
        Interrupted: stopped by a signal; what is registered stays.
    """
    if len(requests) == 1 and address is None:
        return [make(workspace, requests[0], promote, progress)]
    documents = [answered(workspace, request) for request in requests]
    alone = [at for at, request in enumerate(requests) if method(request.recipe.method).rooted]
    wanted = [at for at, document in enumerate(documents) if document is None and at not in alone]
    with ExitStack() as stack, progress.bar("tasks", len(requests), "tasks") as bar:
        bar.advance(len(requests) - len(wanted))
        held = {at: stack.enter_context(begun(workspace, requests[at], again)) for at in wanted}
        for at, made, error in _train_each(workspace, {at: requests[at] for at in wanted}, address):
            documents[at] = _kept(workspace, requests[at], held[at], made, error, promote)
            bar.advance(1, requests[at].name)
    for at in alone:
        documents[at] = documents[at] or _appended(workspace, requests[at], promote, progress)
    return [document for document in documents if document]


def _appended(workspace: Workspace, request: Request, promote: bool, progress: Progress) -> dict[str, Any]:
    """What appends to a lineage is made here and in turn: each reads those before it."""
    try:
        after = replace(Order.of(workspace, request), reads=None).request()
        return make(workspace, after, promote, progress)
    except Interrupted:
        raise
    except PeterError as error:
        return {"name": request.name, "error": str(error)}


def _kept(
    workspace: Workspace, request: Request, run: Run, made: Made | None, error: str | None, promote: bool
) -> dict[str, Any]:
    """Register what was made; where nothing was, or it cannot be registered, say why and end the run."""
    try:
        if made is not None:
            return registered(workspace, request, made, run, promote)
    except PeterError as failure:
        error = kept(failure)
    said = error or "nothing was made"
    workspace.registry.write(lambda session: runs.fail(session, run.id, said))
    return {"name": request.name, "error": said}


def _train_each(
    workspace: Workspace, requests: Mapping[int, Request], address: str | None
) -> Iterator[tuple[int, Made | None, str | None]]:
    if not requests:
        return
    from peter.distributed.jobs import each  # Ray, for those who need it

    places = list(requests)
    orders = [Order.of(workspace, request) for request in requests.values()]
    threads = max(request.recipe.fit.threads for request in requests.values())
    for ended in each(work, orders, threads, address):
        yield places[ended.at], ended.value, ended.error
