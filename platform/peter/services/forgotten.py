"""Who was forgotten: known by pseudonym alone, left out of whatever is read, and of what was read before."""

import hmac
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from peter.registry import erasures
from peter.services.workspace import Workspace


@dataclass(frozen=True)
class Forgotten:
    """Those who were forgotten before some data was read."""

    fence: int  # how many
    pseudonyms: frozenset[str] = frozenset()
    key: bytes = field(default=b"", repr=False)

    @classmethod
    def of(cls, workspace: Workspace) -> "Forgotten":
        """Ask before users' data is read that something will be learnt from.

        Raises:
            Busy: stored data still holds a user who is being forgotten.
            PeterError: the store lost the key of the pseudonyms.
        """
        with workspace.registry.read() as session:
            fence, known = erasures.fence(session), erasures.pseudonyms(session)
        return cls(fence, known, workspace.objects.secret(make=False) if known else b"")

    def among(self, users: Iterable[str]) -> set[str]:
        """Those of some users who were forgotten."""
        return among(users, self.pseudonyms, self.key)

    @contextmanager
    def keeping(self, workspace: Workspace) -> Iterator[None]:
        """Put objects that were made of what was read, and register them in a transaction that `require`s it.

        An erasure removes what nothing refers to; what is put before it is removed by it, and nothing after.

        Raises:
            Busy: somebody was forgotten since.
        """
        with workspace.objects.holding():
            with workspace.registry.read() as session:
                erasures.check(session, self.fence)
            yield


def among(users: Iterable[str], pseudonyms: frozenset[str], key: bytes) -> set[str]:
    """Those of some users whose pseudonyms are given."""
    return {user for user in users if pseudonym(user, key) in pseudonyms} if pseudonyms else set()


def hidden(workspace: Workspace, users: Iterable[str]) -> set[str]:
    """Those of some users who are to be unknown, also while stored data still holds one of them."""
    with workspace.registry.read() as session:
        known = erasures.pseudonyms(session)
    return among(users, known, workspace.objects.secret(make=False)) if known else set()


def pseudonym(user: str, key: bytes) -> str:
    """What a user is called who was forgotten; without the key, no list of ids leads back to it."""
    return hmac.digest(key, user.encode(), "sha256").hex()
