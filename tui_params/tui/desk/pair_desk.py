"""PairDesk: what the page of a tensor asks of both its sides, read on a thread of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from textual.message import Message

from tui_params.core.compare.both import BothSources
from tui_params.core.reading.outcome import attempt
from tui_params.errors import StoppedError
from tui_params.settings import FETCH_BELOW
from tui_params.tui.desk.fetching import Fetching
from tui_params.tui.desk.messages import DifferenceMeasured, Faulted, PairRead, RankFound
from tui_params.tui.desk.worker import Worker

if TYPE_CHECKING:
    from tui_params.core.compare.difference_source import DifferenceSource
    from tui_params.core.compare.structure import Pair
    from tui_params.core.figures import Figures
    from tui_params.core.numbers.spectrum.spectrum import Spectrum
    from tui_params.core.tensor import TensorInfo


class PairDesk:
    """Answers PairRead, RankFound and DifferenceMeasured; of each only what was asked for last is answered."""

    def __init__(
        self,
        both: BothSources,
        generation: int,
        post: Callable[[Message], object],
        fetch_below: int = FETCH_BELOW,
    ) -> None:
        self._both = both
        self.fetching = Fetching(both.line, self.to_fetch, fetch_below)
        self._generation = generation
        self._post = post
        self._pairs: dict[str, Pair] = {pair.name: pair for pair in both.comparer.structure.pairs}
        self._workers = {task: Worker(task, self._tell_fault) for task in ("sides", "rank", "difference")}
        self._wanted: dict[str, str | None] = {}
        self._is_closed = False
        self._difference: DifferenceSource | None = None
        self._figures: dict[str, Figures] = {}

    def pair(self, name: str) -> Pair | None:
        """The tensor of A with its partner; None if it has none."""
        return self._pairs.get(name)

    def to_fetch(self, info: TensorInfo) -> int:
        """The bytes of both sides of a tensor that have to come over the line for it to be read."""
        pair = self._pairs.get(info.name)
        return 0 if pair is None else self._both.a.to_fetch(pair.a) + self._both.b.to_fetch(pair.b)

    @property
    def trains(self) -> bool:
        """Whether a side trains meanwhile, so that what is read now is of a later step than what was compared."""
        return self._both.a.beat() is not None or self._both.b.beat() is not None

    def want(self, name: str) -> None:
        """Ask for both sides of a tensor; answered by PairRead."""
        from tui_params.core.compare.sides import read_sides

        pair = self._pairs[name]

        def read(is_over: Callable[[], bool]) -> Message:
            sides, reason = attempt(lambda: read_sides(self._both.a, self._both.b, pair, is_over))
            return PairRead(self._generation, name, sides, reason or "")

        self._do("sides", name, read)

    def want_rank(self, name: str) -> None:
        """Ask for the singular values of a difference; answered by RankFound."""

        def read(is_over: Callable[[], bool]) -> Message:
            found, reason = attempt(lambda: self._spectrum(name, is_over))
            return RankFound(self._generation, name, found, reason or "")

        self._do("rank", name, read)

    def _spectrum(self, name: str, is_over: Callable[[], bool]) -> Spectrum:
        """The singular values of a difference. Raises ReadError, StoppedError."""
        from tui_params.core.reading.matrix import Matrix
        from tui_params.core.reading.spectrum_reading import MOST_UNASKED, read_spectrum
        from tui_params.core.window import parse_window

        source = self.difference
        info = source.find(name)

        def check() -> None:
            if is_over():
                raise StoppedError("the singular values are not wanted any more")

        matrix = Matrix(parse_window("", info.shape))
        is_small = matrix.size <= MOST_UNASKED
        return read_spectrum(source, info, matrix, wants_all=is_small, check=check, tell=lambda _: None)

    @property
    def difference(self) -> DifferenceSource:
        """The differences of all pairs, as a source of its own."""
        if self._difference is None:
            from tui_params.core.compare.difference_source import DifferenceSource

            self._difference = DifferenceSource(self._both.a, self._both.b, self._pairs.values())
        return self._difference

    def figures_of(self, name: str) -> Figures | None:
        """The figures of a difference, if they are known by now."""
        return self._figures.get(name)

    def want_figures(self, info: TensorInfo) -> None:
        """Ask for the figures of a difference; answered by DifferenceMeasured."""

        def read(is_over: Callable[[], bool]) -> Message | None:
            from tui_params.core.reading.tensor_reading import summarize

            found, reason = attempt(lambda: summarize(self.difference, info, should_stop=is_over).figures(info.numel))
            if found is None or reason is not None:
                return None  # the lens says why
            self._figures[info.name] = found
            return DifferenceMeasured(self._generation, info.name)

        if info.name not in self._figures:
            self._do("difference", info.name, read)

    def _do(self, task: str, name: str, work: Callable[[Callable[[], bool]], Message | None]) -> None:
        def is_over() -> bool:
            return self._is_closed or self._wanted.get(task) != name

        def run() -> None:
            if is_over():
                return
            answer = work(is_over)
            if answer is not None and not self._is_closed:
                self._post(answer)

        self._wanted[task] = name
        if not self._is_closed:
            self._workers[task].do(run)

    def _tell_fault(self, reason: str) -> None:
        self._post(Faulted(f"Both sides of the tensor: {reason}."))

    def leave(self, task: str) -> None:
        """Give up what was asked for last."""
        self._wanted[task] = None

    def close(self) -> None:
        """Read nothing after the present block."""
        self._is_closed = True
        for worker in self._workers.values():
            worker.stop()
