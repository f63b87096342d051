"""`peter run`: what was executed, and how it ended."""

from collections.abc import Iterator, Sequence
from typing import Annotated, Any

import typer

from ._group import noun
from ._options import DEFAULT_REGISTRY, JsonOption, RegistryOption, StoreOption, open_workspace
from ._output import Document, Drawing, facts, minute, show, table

app = noun("Look at what was executed.")


@app.command("list", epilog="Example: peter run list --json")
def list_(
    registry: RegistryOption = DEFAULT_REGISTRY, store: StoreOption = None, json: JsonOption = False
) -> None:
    """List the runs, newest first."""
    from peter.services import runs

    show(runs.list_runs(open_workspace(registry, store)), json, _drawn_list)


@app.command("show", epilog="Example: peter run show 7")
def show_(
    run: Annotated[str, typer.Argument(metavar="ID", help="As `peter run list` gives it.")],
    registry: RegistryOption = DEFAULT_REGISTRY,
    store: StoreOption = None,
    json: JsonOption = False,
) -> None:
    """Show a run's parameters, metrics and trials."""
    from peter.services import runs

    show(runs.show_run(open_workspace(registry, store), run), json, _drawn_run)


def _drawn_list(document: Document) -> Drawing:
    yield table(
        ["id", "kind", "state", "subject", "started (UTC)", "ended"],
        (
            [
                str(run["id"]),
                run["kind"],
                run["state"],
                run["task"],
                minute(run["started"]),
                minute(run["ended"]),
            ]
            for run in document["runs"]
        ),
    )


def _drawn_run(run: Document) -> Drawing:
    from peter.services.running import RESUME

    shown = ("kind", "state", "started", "ended", "params", "metrics", "error")
    yield facts({"subject": run["task"], **{name: run[name] for name in shown}})
    if run["trials"]:
        yield table(["trial", "state", "configuration", "best", "scores by epoch"], _trials(run["trials"]))
    if run["kind"] in RESUME and run["state"] in ("interrupted", "failed"):
        yield f"Next: {RESUME[run['kind']].format(run=run['id'])}"


def _trials(tried: Sequence[Document]) -> Iterator[list[Any]]:
    """A line a trial; less is better."""
    for number, trial in enumerate(tried, 1):
        metrics = trial["metrics"] or {}
        yield [number, trial["state"], trial["config"], metrics.get("score"), metrics.get("curve")]
