"""The garbage collector, paused while many objects are made that stay."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def collector_paused() -> Iterator[None]:
    """Pause cyclic garbage collection, which would pass over 100,000 new objects hundreds of times."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def go_on_collecting() -> None:
    """Turn collection on again if it is off, without a look at what has been made until now: ``look_again`` ends that.

    The first collection would pass over all of it: a fifth of a second at 92,000 tensors. Where others have frozen
    objects, nothing is frozen here: nobody could tell theirs from ours afterwards.
    """
    if gc.isenabled():
        return
    if not gc.get_freeze_count():
        gc.freeze()
    gc.enable()


def look_again(frozen_before: int) -> None:
    """Let the collector look at everything again; ``frozen_before`` objects were frozen when it was turned off."""
    if not frozen_before:
        gc.unfreeze()
