"""Drift: compares the ranks of a job again and again while somebody looks at it, on a thread of its own."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping

from tui_params.core.findings import Finding
from tui_params.errors import ReadError
from tui_params.live.attached.replicas import compare_ranks
from tui_params.live.attached.trained import TrainedSource

LEAST_REST = 3.0
"""Seconds between the end of a comparison and the next one, at least."""

_SHARE = 20.0
"""How much longer than it has compared it rests."""

_SECONDS = 60.0
"""How long one comparison may take: nobody waits for it."""


class Drift:
    """``tell`` is given what is to be said of the parameters each time, until ``close`` or until a rank is lost."""

    def __init__(self, ranks: Mapping[int, TrainedSource], tell: Callable[[tuple[Finding, ...]], None]) -> None:
        self._ranks, self._tell = ranks, tell
        self._over = threading.Event()
        threading.Thread(target=self._run, name="tui-params drift", daemon=True).start()

    def close(self) -> None:
        """Compare no more. Does not wait for the thread."""
        self._over.set()

    def _run(self) -> None:
        rest = LEAST_REST
        while not self._over.wait(rest):
            began = time.monotonic()
            try:
                found = compare_ranks(self._ranks, _SECONDS)
            except ReadError:
                return
            # What could not be read because a rank has gone is no news: what was seen of it stays.
            if self._over.is_set() or any(source.beat().lost is not None for source in self._ranks.values()):
                return
            self._tell(found)
            rest = max(LEAST_REST, (time.monotonic() - began) * _SHARE)
