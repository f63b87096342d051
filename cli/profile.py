"""`peter profile`: every task's answer for a user, and the users that an answer holds for."""

from pathlib import Path
from typing import Annotated

import typer

from ._cards import card, sensitive
from ._coverage import fallen
from ._options import (
    DEFAULT_REGISTRY,
    JsonOption,
    RayOption,
    RegistryOption,
    StoreOption,
    WorkersOption,
    open_workspace,
)
from ._output import Document, Drawing, facts, minute, show, table

app = typer.Typer(help="Read what all tasks say about users.", no_args_is_help=True, rich_markup_mode=None)


@app.command(epilog="Example: peter profile get 42 007 --live")
def get(
    users: Annotated[list[str], typer.Argument(metavar="USER..", help="User ids, as in the event log.")],
    live: Annotated[
        bool, typer.Option("--live", help="Compute now instead of reading what is stored.")
    ] = False,
    explain: Annotated[
        bool, typer.Option("--explain", help="Say which blocks were opened to each user; implies --live.")
    ] = False,
    registry: RegistryOption = DEFAULT_REGISTRY,
    store: StoreOption = None,
    json: JsonOption = False,
) -> None:
    """Show every task's answer for users.

    Each comes with its probability, the patch version that gave it, and whether the user was trained on.
    """
    from peter.services.profile import profiles

    show(profiles.get(open_workspace(registry, store), users, live, explain), json, _drawn_cards)


@app.command(epilog="""Example: peter profile query "gender = 'F' AND age_p > 0.8\"""")
def query(
    where: Annotated[
        str,
        typer.Argument(
            metavar="WHERE",
            help="A SQL condition; task x has the columns x, x_p and, if its kind tells more, x_details.",
        ),
    ],
    limit: Annotated[int, typer.Option("--limit", min=1, help="At most so many users.")] = 100,
    registry: RegistryOption = DEFAULT_REGISTRY,
    store: StoreOption = None,
    json: JsonOption = False,
) -> None:
    """Find users by a condition over all tasks."""
    from peter.services.profile import cohorts

    show(cohorts.query(open_workspace(registry, store), where, limit), json, _drawn_users)


@app.command(epilog="Example: peter profile materialize --tasks gender,age")
def materialize(
    tasks: Annotated[
        str | None, typer.Option("--tasks", metavar="NAME,NAME..", help="These tasks only; all if not given.")
    ] = None,
    incremental: Annotated[
        bool, typer.Option("--incremental", help="Only new champions, and users with events since.")
    ] = False,
    workers: WorkersOption = 1,
    ray: RayOption = None,
    registry: RegistryOption = DEFAULT_REGISTRY,
    store: StoreOption = None,
    json: JsonOption = False,
) -> None:
    """Score every user and store the answers."""
    from peter.services.crew import Crew
    from peter.services.profile.materialize import materialize

    from ._progress import progress

    chosen = None if tasks is None else tasks.split(",")
    workspace, crew = open_workspace(registry, store), Crew(workers, ray)
    show(materialize(workspace, chosen, progress(), incremental, crew), json, _drawn_tables)


@app.command(epilog="Example: peter profile export profiles.parquet")
def export(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A name that ends in .parquet or .csv.")],
    registry: RegistryOption = DEFAULT_REGISTRY,
    store: StoreOption = None,
    json: JsonOption = False,
) -> None:
    """Write all stored answers to one file.

    One row for each user and task.
    """
    from peter.services.profile import cohorts

    show(cohorts.export(open_workspace(registry, store), file), json, _drawn_export)


def _drawn_cards(document: Document) -> Drawing:
    yield from map(card, document["users"])
    yield from sensitive({task: told for user in document["users"] for task, told in user["tasks"].items()})


def _drawn_users(document: Document) -> Drawing:
    columns = list(document["users"][0]) if document["users"] else ["user_id"]
    yield table(columns, ([user[column] for column in columns] for user in document["users"]))
    yield from sensitive(document["tables"])


def _drawn_tables(document: Document) -> Drawing:
    yield table(
        ["patch", "backbone", "users", "computed", "as of (UTC)"],
        (
            [
                f"{row['task']}@{row['version']}",
                *(row[column] for column in ("backbone", "users", "computed")),
                minute(row["as_of"]),
            ]
            for row in document["tables"]
        ),
        right=["users", "computed"],
    )
    yield from fallen(document["tables"])


def _drawn_export(document: Document) -> Drawing:
    yield facts(document)
