"""Team: the processes that read a source together; one of them leads and has the results of all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from tui_params.core.numbers.difference import Counted
from tui_params.core.reading.sweep import Measuring
from tui_params.core.source import Source
from tui_params.core.tensor import TensorInfo

Range = tuple[int, int]


class Compared(NamedTuple):
    """What came of some ranges of elements of a pair of tensors.

    ``same`` are ranges whose bytes are equal and that ``counted`` does not have; it is None if that is all of them.
    """

    counted: Counted | None
    same: tuple[Range, ...]


class Comparing(Protocol):
    """The leader's view of a shared comparison."""

    def __call__(self, job: int, place: int) -> Compared | None:
        """What came of a range; None: the caller reads it. Waits.

        The first range of a job that another process has read stands for all of them, the others have nothing to add.
        Raises ReadError if the process that should have read it is lost.
        """

    @property
    def done_nbytes(self) -> int:
        """The bytes of A that the other processes have read so far."""


class Team(Protocol):
    """Processes that run the same command on the same source. A method returns in the one that leads.

    In the others it reads their share, sends what came of it and raises ShareReadError: they have nothing to print.
    Raises TeamError in the leader if the processes do not see the same.
    """

    def measure(self, source: Source, infos: Sequence[TensorInfo], *, has_channels: bool) -> Measuring:
        """Share the reading of these tensors for their figures; in the order in which they will be asked for.

        What is returned also reads tensors that were not shared, alone.
        """

    def compare(
        self,
        sources: tuple[Source, Source],
        jobs: Sequence[Sequence[int]],
        question: str,
        read: Callable[[int, Sequence[int], Callable[[int], None]], Compared],
    ) -> Comparing:
        """Share the comparison of pairs of tensors. ``jobs`` are the bytes of the ranges of each.

        ``question`` is whatever the results depend on besides the sources. ``read`` compares ranges of one job, by
        their numbers, and calls its last argument with the bytes of each piece. Raises ReadError, OSError,
        MemoryError.
        """

    def collect(self, *sources: Source) -> None:
        """Wait until all have read their share, and give these sources the checksums that were computed in passing."""

    def guard(self, source: Source) -> Source:
        """The source as the team should read it: it refuses to be read once the processes are to end."""

    @property
    def done_nbytes(self) -> int:
        """The bytes that all processes have read so far."""
