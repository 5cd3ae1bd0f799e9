"""TimelineDesk: opens the checkpoints of a run, reads them side by side in a thread, and looks for new ones."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread
from typing import TYPE_CHECKING

from textual.message import Message

from tui_params.core.compare.tracks import Moment, Step, Track
from tui_params.core.compare.verdict import Progress
from tui_params.core.kernels.float_mode import with_subnormals
from tui_params.core.text import are, plural
from tui_params.errors import OpenError, StoppedError
from tui_params.settings import FETCH_BELOW
from tui_params.sources.bytes.far import is_far
from tui_params.tui.state.run import Run
from tui_params.tui.state.track_rows import TrackRow, row_of
from tui_params.tui.terminal.frozen_message import FrozenMessage

if TYPE_CHECKING:
    from tui_params.cache.folder import CacheFolder
    from tui_params.cache.moments import RunMoments
    from tui_params.core.source import Source
    from tui_params.sources.folder.run.arrival import FilesState

LOOK_AGAIN = 3.0
"""Seconds between two looks for new checkpoints."""

SETTLED_NS = 3_000_000_000
"""A checkpoint whose files changed within the last three seconds may still be written."""

FEWEST = 2


@dataclass(eq=False, slots=True)
class RunOpened(FrozenMessage):
    """The steps of the run, with those that could not be opened; again, when there are more."""

    generation: int
    steps: tuple[Step, ...]


@dataclass(eq=False, slots=True)
class TracksRead(FrozenMessage):
    """Some tensors have been read at every step; how far the reading is."""

    generation: int
    rows: tuple[TrackRow, ...]
    progress: Progress | None


@dataclass(eq=False, slots=True)
class RunEnded(FrozenMessage):
    """The reading has come to its end, or why it did not."""

    generation: int
    reason: str


@dataclass(eq=False, slots=True)
class StepWaits(FrozenMessage):
    """What is to be said of checkpoints that have appeared and are not read yet; empty if there are none."""

    generation: int
    words: str


@dataclass(eq=False, slots=True)
class FetchWaits(FrozenMessage):
    """The reading would bring so many bytes over the line from an address, and waits for ``TimelineDesk.fetch``."""

    generation: int
    nbytes: int
    address: str


class TimelineDesk:
    """One reading of a run: the folder of its checkpoints, or the checkpoints in the order in which they are given.

    Only a folder is looked at again. All messages carry the generation. ``store`` keeps what was read. Where more than
    ``fetch_below`` bytes would come over a line, it waits for ``fetch``.
    """

    def __init__(
        self,
        run: Run,
        generation: int,
        post: Callable[[Message], object],
        store: CacheFolder | None = None,
        fetch_below: int = FETCH_BELOW,
    ) -> None:
        self._run_of = run.paths
        self._generation = generation
        self._post = post
        self._store = store
        self._reader = run.reader
        self._steps: list[Step] = []
        self._sources: list[Source | None] = []
        self._tracks: dict[str, Track] = {}
        self._fresh: list[Track] = []
        self._taken: set[str] = set()
        self._seen: dict[str, FilesState] = {}
        self._refused: dict[str, tuple[FilesState, str]] = {}
        self._waits = ""
        self._fetch_below = fetch_below
        self._may_fetch = Event()
        self._is_stopped = Event()
        self._thread = Thread(target=self._work, name="timeline", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Read nothing more, and look for nothing more."""
        self._is_stopped.set()
        self._may_fetch.set()

    def fetch(self) -> None:
        """Read the run although much has to be fetched."""
        self._may_fetch.set()

    def close(self, wait: float) -> None:
        """Stop, and wait at most so many seconds until the files are closed."""
        self.stop()
        self._thread.join(wait)

    @with_subnormals
    def _work(self) -> None:
        with ExitStack() as stack:
            try:
                is_folder = self._open(stack)
                self._read()
                while is_folder and not self._is_stopped.wait(LOOK_AGAIN):
                    self._look(stack)
            except StoppedError:
                return
            except Exception as error:  # noqa: BLE001 - the screen says why nothing more comes
                from tui_params.core.reading.outcome import reason_of

                self._post(RunEnded(self._generation, reason_of(error)))

    # Opening

    def _open(self, stack: ExitStack) -> bool:
        """Open every step; returns whether they are those of a folder, which may get more. Raises OpenError."""
        from tui_params.api.timelines import steps_of

        targets, numbers = steps_of(list(self._run_of))
        is_folder = len(self._run_of) == 1
        last = str(targets[-1])
        for target, number in zip(map(str, targets), numbers, strict=True):
            if self._is_stopped.is_set():
                raise StoppedError("the opening of the run was stopped")
            if is_folder and target == last and self._is_written(target):
                self._wait([f"step {number} is being written"])
                continue
            step, source = self._open_step(target, number, stack)
            if source is None and is_folder and target == last:
                self._wait([f"step {step.name} cannot be opened yet: {step.reason}"])
                continue
            self._take(target, step, source)
        if sum(source is not None for source in self._sources) < FEWEST:
            reasons = [step.reason for step in self._steps if step.reason is not None]
            raise OpenError(reasons[0] if reasons else self._waits or "a timeline needs at least two checkpoints")
        self._post(RunOpened(self._generation, tuple(self._steps)))
        return is_folder

    def _open_step(self, target: str, number: int | None, stack: ExitStack) -> tuple[Step, Source | None]:
        from tui_params.api.timelines import open_step

        return open_step(target, number, stack, self._reader)

    def _take(self, target: str, step: Step, source: Source | None) -> None:
        self._taken.add(target)
        self._steps.append(step)
        self._sources.append(source)

    # Reading

    def _read(self) -> None:
        """Read what is not known of every tensor. Raises StoppedError."""
        from tui_params.core.compare.timeline import read_timeline

        read, count = dict(self._tracks), len(self._steps)
        kept = self._kept_moments()

        def known(name: str) -> Sequence[Moment | None]:
            track = read.get(name)
            if track is not None:
                return *track.moments, *[None] * (count - len(track.moments))
            return kept.known(name) if kept is not None else ()

        is_whole = False
        try:
            self._wait_for_fetch(known)
            read_timeline(
                self._steps,
                self._sources,
                should_stop=self._is_stopped.is_set,
                progress=self._tell_progress,
                found=self._fresh.append,
                known=known,
            )
            is_whole = True
            self._post(RunEnded(self._generation, ""))
        finally:
            if kept is not None:
                for track in self._tracks.values():
                    kept.put(track)
                kept.flush(is_whole=is_whole)

    def _wait_for_fetch(self, known: Callable[[str], Sequence[Moment | None]]) -> None:
        """Say how much would be fetched, if that is much, and wait until the user wants it. Raises StoppedError."""
        nbytes, addresses = 0, dict[str, None]()
        for at, source in enumerate(self._sources):
            if source is None or source.line is None:
                continue
            addresses[source.line.address] = None
            for info in source.listing.tensors:
                moments = known(info.name)
                if info.tied_to is None and (at >= len(moments) or moments[at] is None):
                    nbytes += source.to_fetch(info)
        if nbytes > self._fetch_below:
            self._post(FetchWaits(self._generation, nbytes, " and ".join(addresses)))
            self._may_fetch.wait()
        if self._is_stopped.is_set():
            raise StoppedError("the reading of the run was stopped")

    def _kept_moments(self) -> RunMoments | None:
        if self._store is None:
            return None
        from tui_params.cache.moments import RunMoments

        return RunMoments(self._store, self._sources)

    def _tell_progress(self, progress: Progress) -> None:
        rows = []
        for track in self._fresh:
            self._tracks[track.name] = track
            rows.append(row_of(track))
        self._fresh.clear()
        self._post(TracksRead(self._generation, tuple(rows), progress))

    # New checkpoints

    def _look(self, stack: ExitStack) -> None:
        """Take the checkpoints that have appeared, as far as they are whole. Raises StoppedError."""
        from tui_params.api.timelines import steps_of

        try:
            targets, numbers = steps_of(list(self._run_of))
        except OpenError:
            return  # the folder is gone, or almost empty; what was read stays
        waits: list[str] = []
        new: list[tuple[str, int, str]] = []
        last = max((step.number for step in self._steps if step.number is not None), default=-1)
        for target, number in zip(map(str, targets), numbers, strict=True):
            if target in self._taken:
                continue
            if number is None or number <= last:
                waits.append(f"step {number} has appeared among the others: R reads the run again")
                continue
            if self._is_written(target):
                waits.append(f"step {number} is being written")
                break
            new.append((target, number, self._why_not_yet(target, number)))
        # One that others have followed will not become whole any more.
        while new and new[-1][2]:
            waits.append(new.pop()[2])
        self._wait(waits)
        for target, number, _ in new:
            self._take(target, *self._open_step(target, number, stack))
        if new:
            self._post(RunOpened(self._generation, tuple(self._steps)))
            self._read()

    def _why_not_yet(self, target: str, number: int) -> str:
        """Why a checkpoint that has appeared is not taken; empty if it is whole. Opened once for each of its states."""
        state = self._seen[target]
        before = self._refused.get(target)
        if before is not None and before[0] == state:
            return before[1]
        with ExitStack() as stack:
            step, source = self._open_step(target, number, stack)
            if source is None:
                why = f"step {number} cannot be opened yet: {step.reason}"
            else:
                lacks = self._lacks(source)
                why = f"step {number} is not whole yet ({lacks}): R takes it as it is" if lacks else ""
        self._refused[target] = state, why
        return why

    def _lacks(self, source: Source) -> str:
        """What a whole checkpoint would have."""
        tensors = source.listing.tensors
        unreadable = sum(info.unreadable is not None for info in tensors)
        if unreadable:
            return f"{plural(unreadable, 'tensor')} cannot be read"
        before = next((source for source in reversed(self._sources) if source is not None), None)
        names = {info.name for info in tensors}
        missing = sum(info.name not in names for info in before.listing.tensors) if before is not None else 0
        return f"{plural(missing, 'tensor')} of the step before {are(missing)} missing" if missing else ""

    def _is_written(self, target: str) -> bool:
        """Whether its files have changed since the last look, or a moment ago at the first. A server is not asked."""
        if is_far(target):
            return False
        from tui_params.sources.folder.run.arrival import files_state

        state = files_state(Path(target))
        before, self._seen[target] = self._seen.get(target), state
        return state != before and state.newest > time.time_ns() - SETTLED_NS

    def _wait(self, waits: Sequence[str]) -> None:
        words = "; ".join(waits)
        if words != self._waits:
            self._waits = words
            self._post(StepWaits(self._generation, words))
