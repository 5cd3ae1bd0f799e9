"""What is asked about adapters is answered from a thread, and only if it is still wanted."""

from __future__ import annotations

from collections.abc import Iterator
from queue import Queue

import numpy as np
from numpy.typing import NDArray
from textual.message import Message

from tests.factories_memory import MemorySource
from tests.factories_screen import PATIENCE, GatedSource, on_stage
from tui_params.core.health.adapters import adapters_of
from tui_params.core.tensor import TensorInfo
from tui_params.tui.desk.adapters import AdapterDesk
from tui_params.tui.desk.fetching import Fetching
from tui_params.tui.desk.messages import AdaptersFound, ChangesFound


def gated(*closed: str) -> GatedSource:
    arrays = {}
    for module in ("slow", "quick"):
        arrays[f"{module}.lora_A.weight"] = np.ones((2, 4), np.float32)
        arrays[f"{module}.lora_B.weight"] = np.ones((4, 2), np.float32)
    return GatedSource(arrays, closed)


def test_only_the_module_that_was_asked_for_last_is_answered() -> None:
    source = gated("slow.lora_B.weight")
    posted: Queue[Message] = Queue()
    desk = AdapterDesk(source, 3, posted.put, Fetching(None, source.to_fetch, 0))
    desk.want()
    found = posted.get(timeout=PATIENCE)
    assert isinstance(found, AdaptersFound)
    slow, quick = found.adapters
    desk.want_changes("slow", [slow])
    assert source.started["slow.lora_B.weight"].wait(PATIENCE)
    desk.want_changes("quick", [quick])
    source.open_gates()
    changes = posted.get(timeout=PATIENCE)
    assert isinstance(changes, ChangesFound)
    assert (changes.generation, changes.path) == (3, "quick")
    assert changes.changes[0].unscaled == 8.0
    desk.stop()
    assert posted.empty()


def test_nothing_is_answered_after_the_end() -> None:
    source = gated("slow.lora_B.weight")
    posted: Queue[Message] = Queue()
    desk = AdapterDesk(source, 1, posted.put, Fetching(None, source.to_fetch, 0))
    desk.want_changes("slow", adapters_of(source)[:1])
    assert source.started["slow.lora_B.weight"].wait(PATIENCE)
    desk.stop()
    desk.want_changes("quick", adapters_of(source)[1:])
    source.open_gates()
    worker = desk._worker._thread
    assert worker is not None
    worker.join(PATIENCE)
    assert not worker.is_alive()
    assert posted.empty()


class GatedWindows(GatedSource):
    """Its figures are read at once; only what norms are computed from waits at a gate."""

    def blocks(self, info: TensorInfo, start: int = 0, stop: int | None = None) -> Iterator[NDArray[np.uint8]]:
        return MemorySource.blocks(self, info, start, stop)


async def test_no_key_waits_for_a_norm() -> None:
    source = GatedWindows(gated().arrays, ("slow.lora_B.weight",))
    async with on_stage(source, is_settled=False) as stage:
        await stage.until(lambda: len(stage.app.screen_stack) > 1 and stage.cursor == "slow", "the tree")
        await stage.until(lambda: "norm of the change: being computed" in stage.facts, "the note")
        assert source.started["slow.lora_B.weight"].wait(PATIENCE)
        # The tensor below, its values, and back.
        await stage.send("down")
        await stage.until(lambda: stage.facts.startswith("slow.lora_A.weight") and "mean" in stage.facts, "the tensor")
        await stage.send("up")
        await stage.until(lambda: "norm of the change: being computed" in stage.facts, "the module again")
        source.open_gates()
        await stage.until(lambda: "norm of the change 8 for the product of its factors" in stage.facts, "the norm")
