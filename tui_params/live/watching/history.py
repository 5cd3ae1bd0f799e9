"""History: the courses of parameters of a served model: looks at copies that are made at its steps, on a thread.

The thread that trains does nothing but copy, what fits into BUDGET bytes a step. The thread here takes at most a
quarter of a core for its arithmetic: where steps come faster, it leaves some out.
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from tui_params.core.course import LOOKS, Course, Point
from tui_params.core.tensor import TensorInfo
from tui_params.errors import OpenError, ReadError
from tui_params.live.attached.figures import figures_of, update_of
from tui_params.live.attached.source import AttachedSource
from tui_params.live.inside.tensor_slots import ABSENT, COPIED
from tui_params.live.watching.rounds import Round
from tui_params.live.watching.stream import CHANGED, STATES, Stream

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

BUDGET = 8 << 20
"""Bytes that are copied at a step, values and gradients; the parameter that matters most may have more."""

MOST = 32 << 20
"""The most bytes of a parameter and its gradient that are copied at every step."""

NUMBER = 1
"""Which of the viewer's watches this is."""

PLACES = 4
"""Steps that this thread may be late; two in a row make an update."""

_SHARE = 3.0
"""How much longer than it has worked the thread rests."""

_PATIENCE = 0.5
"""Seconds that what is on screen has to stay before it is looked at in place of what was."""

_TOO_LARGE = "it is too large to be copied at every step"


class _Track(msgspec.Struct):
    """What is kept of one parameter: its points, and its bytes after the last step that was looked at."""

    norms: deque[Point]
    updates: deque[Point]
    step: int = 0
    raw: NDArray[np.uint8] | None = None
    reason: str = ""


class History:
    """Looks at parameters from ``want`` until ``close``. All but the thread of its own is for the screen."""

    def __init__(self, source: AttachedSource) -> None:
        self._source = source
        self._parameters = {
            info.name: (info, source.listing.gradients[info.name])
            for info in source.listing.tensors
            if info.name in source.listing.gradients and info.tied_to is None and info.numel and not info.unreadable
        }
        self._left_out = {
            info.name: Course(reason=info.unreadable)
            for info in source.listing.tensors
            if info.name in source.listing.gradients and info.unreadable is not None
        }
        self._first = {info.name: info.first_name for info in source.listing.tensors if info.tied_to is not None}
        self._wanted: tuple[str, ...] = ()
        self._tracks: dict[str, _Track] = {}
        self._looks = 0
        self._published: tuple[int, dict[str, Course]] = (0, self._left_out)
        self._followed: frozenset[str] = frozenset()
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._is_closed = False
        self._thread: threading.Thread | None = None

    def want(self, names: Sequence[str]) -> None:
        first = (self._first.get(name, name) for name in names)
        wanted = tuple(dict.fromkeys(name for name in first if name in self._parameters))
        if wanted == self._wanted or self._is_closed:
            return
        self._wanted = wanted
        self._wake.set()
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="tui-params history", daemon=True)
            self._thread.start()

    def publish(self) -> bool:
        with self._lock:
            if self._published[0] == self._looks:
                return False
            found = {
                name: Course(tuple(track.norms), tuple(track.updates), track.reason)
                for name, track in self._tracks.items()
            }
            self._published = self._looks, self._left_out | found
        return True

    def of(self, name: str) -> Course | None:
        return self._published[1].get(self._first.get(name, name))

    def close(self) -> None:
        """Look no more. Does not wait for the thread."""
        self._is_closed = True
        self._wake.set()

    def _run(self) -> None:
        while not self._is_closed:
            self._wake.clear()
            chosen = self._choose(self._wanted)
            if not chosen:
                self._wake.wait()
                continue
            try:
                infos = [info for name in chosen for info in self._parameters[name]]
                budget = sum(-(-info.nbytes // 64) * 64 for info in infos)  # each begins at a line of the cache
                stream = Stream(self._source, infos, number=NUMBER, budget=budget, places=PLACES)
                self._followed = frozenset(chosen)
                self._follow(stream)
            except (OpenError, ReadError):
                # The connection has gone, or the model is another one: the screen says so in its own way.
                if self._source.connection.look() is not None:
                    return
                self._wake.wait(2.0)

    def _choose(self, wanted: Sequence[str]) -> list[str]:
        """All parameters if they fit into the budget, else those that are wanted as far as they do."""
        everything = list(self._parameters)
        if sum(map(self._cost, everything)) <= BUDGET:
            return everything
        chosen: list[str] = []
        left = BUDGET
        for name in wanted:
            cost = self._cost(name)
            if cost <= left or (name == wanted[0] and cost <= MOST):
                chosen.append(name)
                left -= cost
            elif cost > MOST:
                with self._lock:
                    self._track(name).reason = _TOO_LARGE
        return chosen

    def _cost(self, name: str) -> int:
        info, gradient = self._parameters[name]
        return info.nbytes + gradient.nbytes

    def _follow(self, stream: Stream) -> None:
        """Look at rounds until something else is wanted. Raises ReadError."""
        spent, in_a_row, last = 0.0, 0, 0
        while not self._is_closed:
            if self._wake.is_set():
                self._wake.clear()
                chosen = self._choose(self._wanted)
                if not self._followed.issuperset(chosen):
                    # What is scrolled past is not worth a new start.
                    if not self._wake.wait(_PATIENCE):
                        self._wake.set()
                        return
                    continue
            found = stream.next(0.1)
            if found is None:
                if self._source.connection.look() is not None:
                    return
                continue
            began = time.thread_time()
            self._look(stream, found)
            spent += time.thread_time() - began
            in_a_row = in_a_row + 1 if found.step == last + 1 else 1
            last = found.step
            if in_a_row > 1 and spent > 0.005:
                self._wake.wait(spent * _SHARE)
                spent, in_a_row = 0.0, 0
                stream.skip()

    def _look(self, stream: Stream, found: Round) -> None:
        for index, state, offset in found.entries:
            if index >= len(stream.infos):
                raise ReadError("the process describes its shared memory wrongly")
            info = stream.infos[index]
            name = info.name.removesuffix(".grad") if info.kind == "gradient" else info.name
            raw = stream.raw(found, index, offset) if state == COPIED else None
            if state == COPIED and raw is None:
                return  # overwritten: the rest of the round is, too
            point = self._point(info, found, raw, state)
            with self._lock:
                track = self._track(name)
                if point is not None:
                    track.reason = ""
                    (track.norms if info.kind == "gradient" else track.updates).append(point)
                elif state not in (COPIED, ABSENT):
                    track.reason = STATES.get(state, CHANGED)
                if info.kind != "gradient":
                    track.raw, track.step = raw, found.step
        with self._lock:
            self._looks += 1

    def _point(self, info: TensorInfo, found: Round, raw: NDArray[np.uint8] | None, state: int) -> Point | None:
        if info.kind == "gradient":
            if state == ABSENT:
                return Point(found.step, None, "none")
            if raw is None:
                return None
            figures = figures_of(raw, info.dtype, info.numel)
            if not figures.is_finite:
                return Point(found.step, None, "NaN" if figures.nan else "Inf", found.is_scaled)
            return Point(found.step, figures.norm, "", found.is_scaled)
        track = self._tracks.get(info.name)
        if raw is None or track is None or track.raw is None or track.step != found.step - 1:
            return None
        ratio = update_of(track.raw, raw, info.dtype, info.numel)
        if ratio is None:
            return Point(found.step, None, "NaN")
        return Point(found.step, ratio) if math.isfinite(ratio) else Point(found.step, None, "new")

    def _track(self, name: str) -> _Track:
        if name not in self._tracks:
            self._tracks[name] = _Track(deque(maxlen=LOOKS), deque(maxlen=LOOKS))
        return self._tracks[name]
