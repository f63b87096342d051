"""Who does long work: this process alone, or several, on this machine or on a cluster."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Crew:
    """So many processes of Ray's."""

    workers: int = 1
    address: str | None = None  # of a cluster

    @property
    def alone(self) -> bool:
        """Whether this process does it."""
        return self.workers == 1 and self.address is None


ALONE = Crew()
