"""Preconditions for writing to a memory."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from memories.models import Memory
from somamemory.errors import PreconditionFailed


@dataclass(frozen=True)
class Precondition:
    """A condition for a write: the memory must be `present`, be `absent`, or have this `version`.

    id: the id of the expected memory. If another memory has been stored at the coordinate since, the expected memory
      counts as absent.
    """

    version: int | None = None
    present: bool = False
    absent: bool = False
    id: UUID | None = None

    def matching(self, memory: Memory | None) -> Memory | None:
        """Return the memory if it is the expected one, otherwise None."""
        return memory if memory is None or self.id in (None, memory.id) else None

    def check(self, current: Memory | None) -> None:
        if self.present and current is None:
            raise PreconditionFailed("there is no memory at this coordinate")
        if self.absent and current is not None:
            raise PreconditionFailed("there is already a memory at this coordinate")
        if self.version is not None and (current is None or current.version != self.version):
            if current is None:
                raise PreconditionFailed("there is no memory at this coordinate, so there is no version to match")
            raise PreconditionFailed(
                f"the memory is at version {current.version}, not {self.version}; fetch it again and retry"
            )
