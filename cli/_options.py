"""Options that several commands share, each written once."""

import gc
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from peter.services.workspace import Workspace

DEFAULT_REGISTRY = "sqlite:///.peter/registry.db"

RegistryOption = Annotated[
    str, typer.Option("--registry", envvar="PETER_REGISTRY", metavar="URL", help="The registry database.")
]
StoreOption = Annotated[
    str | None,
    typer.Option(
        "--store",
        envvar="PETER_STORE",
        metavar="DIR|URL",
        help="The object store: a directory or s3://BUCKET/PREFIX; beside the registry if not given.",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")]

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="The task.")]
LabelsOption = Annotated[
    Path,
    typer.Option(
        "--labels", metavar="FILE", help="Users and their labels: CSV, TSV, Parquet or RecBole .user."
    ),
]
NewLabelsOption = Annotated[
    Path | None,
    typer.Option("--labels", metavar="FILE", help="New labels; the task's own if not given."),
]
ColumnOption = Annotated[
    str | None, typer.Option("--column", help="The label's column, where the file has several.")
]
KindOption = Annotated[
    str | None, typer.Option("--kind", help="The task kind; inferred from the labels if not given.")
]
BackboneOption = Annotated[
    str | None,
    typer.Option("--backbone", metavar="NAME[@VERSION]", help="Needed where several backbones exist."),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Any other setting; may be given several times."),
]
SeedOption = Annotated[int, typer.Option("--seed", min=0, help="Of everything that is drawn at random.")]
SeedAsBeforeOption = Annotated[
    int | None, typer.Option("--seed", min=0, help="Of everything drawn at random; as before if not given.")
]
SeedsOption = Annotated[
    int, typer.Option("--seeds", min=1, help="Fits under so many seeds, from --seed on; means are reported.")
]
WarmStartOption = Annotated[
    str | None,
    typer.Option(
        "--warm-start",
        metavar="auto|TASK[@VERSION]",
        help="Start the patch from another task's, made alike; auto: the most similar.",
    ),
]
NoTwinOption = Annotated[
    bool,
    typer.Option("--no-twin", help="Skip the from-scratch twin, which tells what pre-training is worth."),
]
RayOption = Annotated[
    str | None,
    typer.Option(
        "--ray", envvar="RAY_ADDRESS", metavar="ADDRESS", help="A Ray cluster; this machine if not given."
    ),
]
WorkersOption = Annotated[
    int, typer.Option("--workers", min=1, help="Processes that share the work, connected by Ray.")
]
ForceOption = Annotated[
    bool, typer.Option("--force", help="Also where another owner's task is changed; the audit keeps it.")
]


def given(context: typer.Context) -> set[str]:
    """The names of the parameters that were typed, those with a variable or a default left out."""
    return {
        name
        for name in context.params
        if getattr(context.get_parameter_source(name), "name", "") == "COMMANDLINE"
    }


def open_workspace(registry: str, store: str | None) -> "Workspace":
    """The workspace that `--registry` and `--store` name."""
    from peter.services.workspace import Workspace

    # What is imported by now stays. Python would look through it for garbage again and again, most of all as
    # it ends: a third of a short command's time. DuckDB reports as leaked what is then never freed.
    if "duckdb" not in sys.modules:
        gc.freeze()
    return Workspace.open(registry, store)
