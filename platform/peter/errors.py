"""Every exception peter raises on purpose, as one tree.

    PeterError                    something failed while doing what was asked        exit 1
    ├── Interrupted               stopped by a signal; the message says how to resume
    ├── Busy                      another process holds what is needed; named by pid
    └── InputError                what the user gave is wrong; nothing was changed   exit 2
        ├── UnknownName           no such task, backbone, method ...; lists the near ones
        ├── NameTaken             it exists already
        ├── NotInitialised        no workspace here: run `peter init`
        ├── SchemaMismatch        the registry is older or newer than this program
        ├── NotOwner              somebody else's task: needs --force
        ├── NamesUser             its sentence has a user's id in it: shown, never stored
        └── CorruptObject         a stored file no longer matches the sha256 that names it

A message is one sentence that names the file, line or value, and ends with what to type next.
"""

import difflib
from collections.abc import Iterable
from typing import Any


class PeterError(Exception):
    """Root of all errors that the command line turns into one sentence."""

    exit_code = 1

    def __reduce__(self) -> tuple[Any, ...]:
        """An error from another process keeps its sentence, whatever its class asks to be made of."""
        return _again, (type(self), str(self))


class Interrupted(PeterError):
    """The run was stopped before its end; what it had acknowledged is kept."""


class Busy(PeterError):
    """A lock could not be had before the deadline."""


class InputError(PeterError):
    """What the user gave cannot be used; nothing was changed."""

    exit_code = 2


def kept(error: Exception) -> str:
    """What may be stored of an error: the text of one that is none of ours may hold a user's id, too."""
    if isinstance(error, NamesUser):
        return "an error that names a user and so is not kept; type the command again to see it"
    return str(error) if isinstance(error, PeterError) else f"unexpected {type(error).__name__}"


def _again(kind: type[PeterError], message: str) -> PeterError:
    error = kind.__new__(kind, message)
    error.args = (message,)
    return error


class UnknownName(InputError):
    """A name that nothing answers to."""

    def __init__(self, noun: str, name: str, known: Iterable[str]) -> None:
        names = sorted(known)
        near = difflib.get_close_matches(name, names, n=3)
        hint = (
            f"did you mean {' or '.join(near)}?"
            if near
            else f"known: {', '.join(names) if names else 'none yet'}."
        )
        super().__init__(f"There is no {noun} called {name!r}; {hint}")


class NameTaken(InputError):
    """The name is in use and its holder would be changed."""


class NotInitialised(InputError):
    """No workspace at this place."""


class SchemaMismatch(InputError):
    """The registry's schema is not the one this program reads."""


class NotOwner(InputError):
    """The task belongs to somebody else."""


class NamesUser(InputError):
    """A user's id is part of the sentence."""


class CorruptObject(InputError):
    """A stored object does not hash to its name, or cannot be decoded."""
