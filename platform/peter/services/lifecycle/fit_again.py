"""Fitting champions again as they were asked for: on another backbone, or without who was forgotten."""

from collections.abc import Sequence
from typing import Any

from peter.errors import InputError
from peter.progress import Progress
from peter.registry import models
from peter.services.patch.recipes import TWIN
from peter.services.version.batch import make_each
from peter.services.version.train import Change, following, rooted
from peter.services.workspace import Workspace


def fit_again(
    workspace: Workspace,
    champions: Sequence[models.Patch],
    row: models.Backbone | None,
    address: str | None,
    again: str,
    progress: Progress,
) -> dict[str, dict[str, Any]]:
    """Make each champion's own request once more, with a twin where it had one; the gate promotes.

    Args:
        row: another backbone; None: each one's own.

    Returns:
        By task its document, or `{name, error}` where it cannot be fitted: the others are made all the same.

    Raises:
        Interrupted: stopped by a signal; what is registered stays.
    """
    made: dict[str, dict[str, Any]] = {}
    requests = []
    for champion in champions:
        change = Change(twin=TWIN not in champion.metrics["skipped"])
        try:
            request = following(workspace, champion, change, row=row)
            requests.append(rooted(workspace, request, progress))
        except InputError as error:
            made[champion.task.name] = {"name": champion.task.name, "error": str(error)}
    documents = make_each(workspace, requests, True, address, again, progress)
    return {**made, **{document["name"]: document for document in documents}}
