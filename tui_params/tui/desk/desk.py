"""The desk between the screen and a source: everything slow happens here, in threads, and answers come as messages.

A screen asks (``want``, ``want_histogram``, ``want_grid``) and returns at once. Each answer carries the generation of
the opening and the key of the question. Closing stops the scanner within one block.
"""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable, Iterable
from time import monotonic
from typing import TYPE_CHECKING

from textual.message import Message

from tui_params.core.health.thresholds import DEFAULT, Thresholds
from tui_params.core.reading.outcome import Outcome, attempt
from tui_params.core.tensor import TensorInfo
from tui_params.errors import UnknownTensorError
from tui_params.settings import FETCH_BELOW
from tui_params.tui.desk.adapters import AdapterDesk
from tui_params.tui.desk.asking import Asking
from tui_params.tui.desk.fetching import fetching_of
from tui_params.tui.desk.grids import Grids
from tui_params.tui.desk.messages import (
    Checked,
    CrossChecking,
    Faulted,
    HistogramReady,
    JudgedOutcome,
    Located,
    Measured,
    SourceSorted,
    SourceStale,
    Working,
)
from tui_params.tui.desk.sweeping import Batches, Sweep
from tui_params.tui.desk.worker import Worker, begin
from tui_params.tui.state.opened import Opened, prepare
from tui_params.tui.state.sorting import SortChoice, ValueOf, sort_of
from tui_params.tui.terminal.line import Line

if TYPE_CHECKING:
    from tui_params.cache.figures import FigureCache, SourceCache
    from tui_params.core.figures import Figures, Histogram
    from tui_params.core.findings import Finding
    from tui_params.core.health.checker import Checker, Report
    from tui_params.core.reading.outcome import HistogramOutcome
    from tui_params.core.reading.scanner import Activity, Scanner
    from tui_params.tui.desk.carried import Carried

Post = Callable[[Message], object]

FLUSH_SECONDS = 5.0


class Desk:
    """The threads of one opened source.

    The scanner's thread reads the tensors on screen and judges each at once; a second one reads the values on screen
    and looks for changes; a third one keeps the cache, and cross-checks the tensors when all are read. A sweep reads
    everything else on a thread of its own, and pauses while the scanner has something to read.
    """

    def __init__(
        self,
        opened: Opened,
        generation: int,
        post: Post,
        cache: FigureCache | Carried | None = None,
        thresholds: Thresholds = DEFAULT,
        fetch_below: int = FETCH_BELOW,
    ) -> None:
        self.opened = opened
        self.fetching = fetching_of(opened.source, fetch_below)
        self.generation = generation
        self._post = post
        self.scanner: Scanner | None = None
        self._checker: Checker | None = None
        self.thresholds = thresholds
        self._judging = threading.Lock()
        self._is_closed = False
        self._worker = Worker("values", self._fail)
        self._finder = Worker("places", self._fail)
        self.adapters = AdapterDesk(opened.source, generation, post, self.fetching)
        self.asking = Asking(opened, generation, post, self._finder, fetch_below)
        self._sought_in: str | None = None
        self._grids = Grids(opened.source, post, self._worker)
        self._cache = cache
        self._kept: SourceCache | Carried | None = None
        self._known: dict[str, Outcome] = {}  # out of the cache
        self._done: set[str] = set()  # read, or found unreadable
        self._keeper = Worker("cache", self._fail)
        self._batches = Batches(lambda outcomes: post(Measured(generation, outcomes)))
        self._is_starting = False
        self._started = threading.Event()
        self._wanted: tuple[str, ...] = ()
        self._flushed = monotonic()
        self._sweep: Sweep | None = None
        self._is_cross_checking = self._is_cross_checked = False

    # Statistics

    @property
    def left(self) -> list[TensorInfo]:
        """The tensors and gradients that are neither known nor known to be unreadable."""
        infos = (*self.opened.tensors, *self.opened.source.listing.gradients.values())
        return [info for info in infos if info.name not in self._done]

    def figures(self, name: str) -> Figures | None:
        """The exact figures of a tensor, if they are known by now."""
        figures = self.scanner.ledger.figures(name) if self.scanner is not None else None
        if figures is None:
            known = self._known.get(name)
            figures = known.figures if known is not None else None
        return figures

    def want(self, names: Iterable[str]) -> None:
        """Measure these tensors, in this order, instead of those that were wanted before."""
        if self._is_closed:
            return
        self._wanted = tuple(names)
        if self.scanner is None:
            self._start_soon()
        else:
            self.scanner.want([name for name in self._wanted if name not in self._known])

    def _start_soon(self) -> None:
        if not self._is_starting:
            # Only now: the first screen is painted.
            self._is_starting = True
            self._keeper.do(self._start)

    def _start(self) -> None:
        """Open the cache (before the first value is read), start the scanner, then take what the cache has kept."""
        from tui_params.core.reading.scanner import Scanner

        # What was opened stays. To look through it, the collector would hold every thread for 0.2 s at 92,000 tensors.
        gc.freeze()
        self._kept = self._cache.for_source(self.opened.source) if self._cache is not None else None
        self.scanner = scanner = Scanner(self.opened.source, self._deliver, self._tell)
        if self._is_closed:
            scanner.close()
            return
        if self._kept is not None:
            self._take_kept(self._kept)
        wanted: tuple[str, ...] | None = None
        while wanted is not self._wanted:  # others may be wanted meanwhile
            wanted = self._wanted
            scanner.want([name for name in wanted if name not in self._known])
        self._started.set()
        self._cross_check_what_is_kept()

    def _fail(self, reason: str) -> None:
        if not self._is_closed:
            self._post(Faulted(f"Something was not done: {reason}."))

    def _deliver(self, outcome: Outcome) -> None:
        outcome, findings = self._judged(outcome)
        self._batches.add((outcome, findings))
        if outcome.is_final:
            self._remember(outcome)
            self._done.add(outcome.name)

    def _judged(self, outcome: Outcome) -> JudgedOutcome:
        """What the rules say; where one fails, the tensor could not be checked, which is not the same as healthy."""
        if not outcome.is_final:
            return outcome, ()
        with self._judging:
            checker = self._the_checker()
            findings, reason = attempt(lambda: checker.take(outcome))
            if reason is not None:
                outcome = Outcome(outcome.name, None, f"it could not be checked: {reason}", True)
                checker.drop(outcome)
        return outcome, findings or ()

    def _tell(self, activity: Activity | None) -> None:
        sweep = self._sweep
        self._post(Working(activity, sweep.progress if sweep is not None else None))

    # The sweep over everything

    @property
    def is_sweeping(self) -> bool:
        return self._sweep is not None

    @property
    def is_busy(self) -> bool:
        """Whether a sweep, or the comparison that ends it, is going on, or something found is on its way."""
        return self._sweep is not None or self._is_cross_checking or not self._batches.is_empty

    @property
    def is_cross_checking(self) -> bool:
        """Whether everything has been read, and the tensors are being cross-checked."""
        return self._is_cross_checking

    def sweep(self) -> bool:
        """Read everything that is not known yet, after what is on screen; False if nothing is left to read."""
        if self._is_closed or self._sweep is not None:
            return True
        if len(self._done) < len(self.opened.tensors) + len(self.opened.source.listing.gradients):
            self._sweep = sweep = Sweep(lambda: self._is_closed)
            self._start_soon()
            begin("sweep", lambda: self._read_all(sweep), lambda reason: self._end_sweep(sweep, reason))
            return True
        if not self._is_cross_checked and not self._is_cross_checking:
            self._cross_check()
        return False

    def stop_sweep(self) -> None:
        """Read no more than what is on screen; what was read stays known."""
        sweep, self._sweep = self._sweep, None
        if sweep is not None:
            sweep.stop()
        self._post(Working(None, None))

    def _read_all(self, sweep: Sweep) -> None:
        # First take what the cache has kept: it need not be read.
        while not self._started.wait(0.05):
            if sweep.is_over():
                return
        source, scanner = self.opened.source, self.scanner
        assert scanner is not None
        names = [info.name for info in self.left]

        def tell() -> None:
            if self._sweep is sweep:
                self._post(Working(None, sweep.progress))

        sweep.run(source, names, scanner, self._deliver, tell)
        if not sweep.is_over():
            self._cross_check()
            self._end_sweep(sweep)

    def _end_sweep(self, sweep: Sweep, reason: str = "") -> None:
        if self._sweep is sweep:
            self._sweep = None
        self._post(Working(None, None))
        if reason:
            self._fail(f"the reading of all tensors ended early: {reason}")

    def _cross_check(self) -> None:
        """Cross-check the tensors, when all have been read; answered by Checked."""

        def compare() -> None:
            try:
                report = None if self._is_cross_checked else self._report()
                if report is not None:
                    self._batches.flush()  # the report says more than they do, and comes last
                    self._post(Checked(self.generation, report))
                self._is_cross_checked = True
            finally:
                self._is_cross_checking = False
                self._post(CrossChecking(self.generation))

        self._is_cross_checking = True
        self._post(CrossChecking(self.generation))
        self._keeper.do(compare)

    def _cross_check_what_is_kept(self) -> None:
        """Cross-check the tensors if the cache knows all that can be read, so that no sweep is needed."""
        left = self.left
        if self.fetching.is_far:
            return  # the places of single values, and tensors that may be equal, would be read
        if not self._known or any(info.unreadable is None for info in left):
            return
        for info in left:
            self._deliver(Outcome(info.name, None, info.unreadable, True))
        self._cross_check()

    def _report(self) -> Report | None:
        with self._judging:
            if self._is_closed:
                return None
            checker = self._the_checker()
            checker.finish(lambda: self._is_closed)
            return checker.report()

    def _the_checker(self) -> Checker:
        """The checker of this source, made when it is first needed."""
        if self._checker is None:
            from tui_params.core.health.checker import Checker

            self._checker = Checker(self.opened.source, self.thresholds)
        return self._checker

    def want_places(self, info: TensorInfo, findings: tuple[Finding, ...]) -> None:
        """Ask for the first places of the values that the findings are about.

        Only the tensor asked for last is answered, by Located.
        """

        def is_over() -> bool:
            return self._is_closed or self._sought_in != info.name

        def look() -> None:
            from tui_params.core.health.places import locate

            if not is_over():
                located = locate(self.opened.source, info, findings, is_over, self.thresholds)
                self._post(Located(self.generation, info.name, located))

        self._sought_in = info.name
        if not self._is_closed:
            self._finder.do(look)

    # The order

    def sort(self, choice: SortChoice, kept: frozenset[str] | None, change_of: ValueOf) -> None:
        """Build the tree anew in another order, decided by the tensors in ``kept``; answered by SourceSorted."""

        def build() -> None:
            order = sort_of(choice, self.figures, kept, change_of)
            self._post(SourceSorted(self.generation, prepare(self.opened.source, order, self.opened.both)))

        self._worker.do(build)

    # The cache

    def _take_kept(self, kept: SourceCache | Carried) -> None:
        """Show the figures that were kept from an earlier session, those on screen first."""
        on_screen = map(self.opened.source.find, self._wanted)
        for info in (*on_screen, *self.opened.tensors):
            if self._is_closed:
                return
            measured = kept.get(info) if info.name not in self._known else None
            if measured is not None:
                outcome = Outcome(info.name, measured.figures, None, True, measured.channels)
                self._known[info.name] = outcome
                self._batches.add(self._judged(outcome))
                self._done.add(info.name)

    def _remember(self, outcome: Outcome) -> None:
        kept = self._kept
        if kept is None or outcome.figures is None:
            return
        try:
            kept.put(self.opened.source.find(outcome.name), outcome.figures, outcome.channels)
        except UnknownTensorError:
            return
        if monotonic() - self._flushed > FLUSH_SECONDS:
            self._flushed = monotonic()
            self._keeper.do(kept.flush)

    def want_histogram(
        self, key: object, name: str, bins: int, draw: Callable[[Histogram], list[Line]], *, is_log_axis: bool
    ) -> None:
        """Ask for the histogram over the whole range of a tensor, drawn; answered by HistogramReady with ``key``."""
        if self._is_closed or self.scanner is None:
            return

        def ready(outcome: HistogramOutcome) -> None:
            histogram = outcome.histogram
            lines, reason = attempt(lambda: draw(histogram) if histogram is not None else [])
            self._post(HistogramReady(key, tuple(lines or ()), outcome.reason or reason))

        self.scanner.want_histogram(name, bins, None, None, is_log_axis, ready)

    def look_for_changes(self) -> None:
        """Ask whether the source has changed since it was opened; answered by SourceStale if it has."""

        def look() -> None:
            sentence = self.opened.source.changed()
            if sentence is not None and not self._is_closed:
                self._post(SourceStale(self.generation, sentence))

        if not self._is_closed:
            self._worker.do(look)

    # Values

    def want_grid(
        self, key: object, info: TensorInfo, expression: str, rows: int, width: int, slot: str = "values"
    ) -> None:
        """Ask for the values at a slice, answered by GridReady with ``key``; of a slot only the last question is."""
        self._grids.want(key, info, expression, rows, width, slot)

    def close(self, wait: float = 0.0, *, keeps_source: bool = False) -> None:
        """Stop the threads, then release the files; waits at most ``wait`` seconds, because a disk may hang."""
        if self._is_closed:
            return
        self._is_closed = True
        self._grids.close()
        for worker in (self._worker, self.asking, self.adapters, self._keeper):
            worker.stop()
        self._batches.close()
        gc.unfreeze()

        def release() -> None:
            if self.scanner is not None:
                self.scanner.close()
            if self._kept is not None:
                self._kept.flush(is_last=True)
            if not keeps_source:
                self.opened.source.close()

        closing = threading.Thread(target=release, name="close", daemon=True)
        closing.start()
        closing.join(wait)
