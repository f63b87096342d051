"""Putting back what `peter verify` found damaged, or giving it up where it can be made again."""

import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from peter.errors import CorruptObject, InputError
from peter.registry import aliases, profiles
from peter.registry.live import Use
from peter.registry.objects import ObjectStore
from peter.services.workspace import Workspace, store_at

REMADE = {"profile_table"}  # tables whose rows may go with their objects: a command makes both again


def copy_at(workspace: Workspace, place: str) -> ObjectStore:
    """The store to take good copies from. Raises InputError where there is none."""
    found = store_at(place, workspace.registry)
    if not found.sizes():
        raise InputError(
            f"{found} holds no object; name the folder or the bucket of a store, with objects/ in it."
        )
    return found


def repair(
    workspace: Workspace, damaged: Mapping[str, Sequence[Use]], copies: Sequence[ObjectStore]
) -> list[str]:
    """Put objects back, drop stored answers whose object is lost, let aliases name what they last moved to.

    Bad bytes go to `quarantine/` below the store, also where no good copy is found.

    Returns:
        What was done, one sentence each.
    """
    done = []
    for sha256, uses in damaged.items():
        healer = _healed(workspace.objects, sha256, copies)
        if healer is not None:
            done.append(f"Object {sha256} was put back from {healer}.")
        elif {use.table for use in uses} <= REMADE:
            done += _dropped(workspace, sha256)
    return [*done, *workspace.registry.write(lambda session: aliases.put_back(session, workspace.actor))]


def _healed(objects: ObjectStore, sha256: str, copies: Sequence[ObjectStore]) -> ObjectStore | None:
    """The store that had a good copy; a bucket has one in this machine's copies, as long as they are kept."""
    for store in (objects.fresh(), *copies):
        with suppress(CorruptObject), objects.workspace() as directory:
            good = Path(directory, "copy")
            shutil.copyfile(store.path(sha256), good)
            objects.mend(sha256, good)
            return store
    objects.mend(sha256, None)
    return None


def _dropped(workspace: Workspace, sha256: str) -> list[str]:
    dropped = workspace.registry.write(lambda session: profiles.drop(session, sha256, workspace.actor))
    return [
        f"The stored answers of {what} were lost and are given up; run `peter profile materialize`."
        for what in dropped
    ]
