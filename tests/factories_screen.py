"""A stage for tests of the explorer: small sources, some with gates, and what stands on the screen as text."""

from __future__ import annotations

import asyncio
import unicodedata
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from threading import Event
from time import monotonic
from typing import Any

import ml_dtypes
import msgspec
import numpy as np
from numpy.typing import NDArray
from textual import events
from textual.app import App
from textual.keys import REPLACED_KEYS, _character_to_key, _get_unicode_name_from_key
from textual.message_pump import MessagePump
from textual.pilot import Pilot
from textual.strip import Strip

from tests.factories_memory import MemorySource
from tui_params.cache.choices import Choices
from tui_params.core.edits import Editor
from tui_params.core.source import Source
from tui_params.core.tensor import TensorInfo
from tui_params.core.window import Window
from tui_params.settings import Settings
from tui_params.tui.app import ParamsApp
from tui_params.tui.desk.pending_source import PendingSource
from tui_params.tui.screens.explorer.screen import ExplorerScreen
from tui_params.tui.screens.layer_screen import LayerScreen
from tui_params.tui.screens.tensor.screen import TensorScreen
from tui_params.tui.screens.timeline.screen import TimelineScreen
from tui_params.tui.state.looks import Looks
from tui_params.tui.state.view import View
from tui_params.tui.terminal.glyphs import UNICODE, Glyphs

PATIENCE = 60.0
"""Seconds after which a test that fails gives up; none that passes waits so long, however busy the machine is."""

Arrays = dict[str, NDArray[Any]]


def ramp(*shape: int) -> NDArray[np.float32]:
    """0, 1, 2 ... in that shape: a value tells its place."""
    return np.arange(int(np.prod(shape)), dtype=np.float32).reshape(shape)


def small_model() -> Arrays:
    """Three layers, an embedding, one NaN, one matrix of zeros; ``layers.10`` comes after ``layers.2``."""
    arrays: Arrays = {"embed.weight": ramp(20, 8)}
    for layer in (0, 2, 10):
        arrays[f"layers.{layer}.attn.weight"] = ramp(8, 8) + layer
        arrays[f"layers.{layer}.attn.bias"] = ramp(8)
        arrays[f"layers.{layer}.mlp.weight"] = ramp(16, 8)
    arrays["layers.2.mlp.weight"][1, 2] = np.nan
    arrays["layers.10.mlp.weight"][:] = 0
    arrays["norm.weight"] = ramp(8).astype(ml_dtypes.bfloat16)
    arrays["steps"] = np.array(7, np.int64)
    return arrays


class GatedSource(MemorySource):
    """A MemorySource whose named tensors are read only when their gate is opened.

    ``started`` is set when somebody waits at a gate.
    """

    def __init__(self, arrays: Mapping[str, NDArray[Any]], closed: tuple[str, ...], **options: Any) -> None:
        super().__init__(arrays, **options)
        self.gates = {name: Event() for name in closed}
        self.started = {name: Event() for name in closed}

    def _pass(self, name: str) -> None:
        gate = self.gates.get(name)
        if gate is not None:
            self.started[name].set()
            assert gate.wait(PATIENCE), f"nobody opened the gate of {name}"

    def blocks(self, info: TensorInfo, start: int = 0, stop: int | None = None) -> Iterator[NDArray[np.uint8]]:
        self._pass(info.name)
        yield from super().blocks(info, start, stop)

    def read_window(self, info: TensorInfo, window: Window) -> NDArray[Any]:
        self._pass(info.name)
        return super().read_window(info, window)

    def open_gates(self) -> None:
        for gate in self.gates.values():
            gate.set()


class ListedSource(MemorySource):
    """A listing without values: every tensor is as large as it says, and reading one fails at once."""

    def __init__(self, infos: tuple[TensorInfo, ...]) -> None:
        super().__init__({})
        self.listing = msgspec.structs.replace(self.listing, tensors=infos, is_ordered=False)

    def _array(self, info: TensorInfo) -> NDArray[Any]:
        from tui_params.errors import ReadError

        raise ReadError("there are no values here")


async def eventually(holds: Callable[[], object], what: str) -> None:
    """Wait until something holds that a thread brings about."""
    stop = monotonic() + PATIENCE
    while not holds():
        assert monotonic() < stop, f"it does not come about: {what}"
        await asyncio.sleep(0.002)


def is_quiet(app: App[Any]) -> bool:
    """Whether every widget waits for its next message: none is on its way, and none is being dealt with."""
    return app._exception is not None or (app._resize_timer is None and all(map(_waits, (app, *app._registry))))


def _waits(pump: MessagePump) -> bool:
    if pump._task is None or pump._task.done():
        return True
    ready: asyncio.Event = pump._message_queue.ready_event
    return bool(ready._waiters) and not ready.is_set()


async def quiet(app: App[Any]) -> None:
    """Wait until every message has arrived that is on its way, and what it brings about.

    Quicker than Pilot's pause, which sends a message to every widget, and then watches how busy the processor is.
    """
    stop = monotonic() + PATIENCE
    looks, calm = 0, 0
    while calm < 3:
        await asyncio.sleep(0 if looks < 100 else 0.001)
        looks, calm = looks + 1, calm + 1 if is_quiet(app) else 0
        assert calm or monotonic() < stop, "messages do not come to an end"


class Stage:
    """A running explorer, and what is to be seen of it."""

    def __init__(self, app: ParamsApp, pilot: Pilot[None]) -> None:
        self.app = app
        self.pilot = pilot

    @property
    def screen(self) -> ExplorerScreen:
        screen = self.app.screen_stack[1]
        assert isinstance(screen, ExplorerScreen)
        return screen

    def raise_what_ended_it(self) -> None:
        """Raise what the app ended with, if something did: nothing more comes about then, and no wait ends."""
        if self.app._exception is not None:
            raise self.app._exception

    async def turn(self) -> None:
        """Let every message that is on its way arrive, and what it brings about."""
        self.raise_what_ended_it()
        await quiet(self.app)
        if self.app._running:
            self.app.screen._on_timer_update()
            await quiet(self.app)

    async def send(self, *keys: str) -> None:
        """Press keys without waiting for what they ask for; quicker than Pilot, which watches the processor."""
        driver = self.app._driver
        assert driver is not None
        for key in keys:
            event = events.Key(key, _character(key))
            event.set_sender(self.app)
            driver.send_message(event)
            await self.turn()

    async def press(self, *keys: str) -> None:
        """Press keys one by one, and wait after each until the explorer rests."""
        for key in keys:
            await self.send(key)
            await self.rest()

    async def rest(self) -> None:
        """Wait until nothing is being opened, read, drawn or waited for."""
        await self.until(lambda: self.is_resting, "rest")
        await asyncio.sleep(0.001)  # a thread that has just finished sends its last message meanwhile
        await self.until(lambda: self.is_resting, "rest")

    @property
    def is_resting(self) -> bool:
        kinds = (ExplorerScreen, TensorScreen, LayerScreen, TimelineScreen)
        return all(screen.is_settled for screen in self.app.screen_stack if isinstance(screen, kinds))

    async def until(self, holds: Callable[[], object], what: str = "") -> None:
        """Wait until something holds."""
        stop = monotonic() + PATIENCE
        while monotonic() < stop:
            await self.turn()
            if holds():
                return
            await asyncio.sleep(0.001)
        raise AssertionError(f"it does not come about: {what}\nstill going on: {self.unsettled}\n{self.text}")

    @property
    def unsettled(self) -> list[str]:
        """What keeps the explorer from resting, for the sentence of a test that waited in vain."""
        screen = self.app.screen_stack[1] if len(self.app.screen_stack) > 1 else None
        found = [type(each).__name__ for each in self.app.screen_stack if not getattr(each, "is_settled", True)]
        if not isinstance(screen, ExplorerScreen) or (pages := screen.pages) is None:
            return found
        parts = {**vars(screen), **vars(pages)}
        found += [name for name, part in parts.items() if getattr(part, "is_settled", True) is False]
        found += [name for name in screen.questions.wanted if pages.desk.figures(name) is None]
        asked = {name: value for name, value in vars(pages).items() if name.endswith("_asked") and value is not None}
        busy = {"desk": pages.desk.is_busy, "waiting": not screen.waiting.is_empty}
        return [*found, *(name for name, is_so in busy.items() if is_so), f"{asked}"]

    async def go(self, name: str) -> None:
        """Put the cursor on the tensor or module of that name."""
        opened = self.screen.opened
        assert opened is not None
        node = opened.tree.find(name)
        assert node is not None, name
        self.screen.tree_view.reveal(node)
        await self.rest()

    async def type(self, words: str) -> None:
        """Type a text, letter by letter."""
        await self.send(*map(_character_to_key, words))

    @property
    def cursor(self) -> str | None:
        """The full name at the cursor."""
        tree, opened = self.screen.tree_view, self.screen.opened
        return opened.tree.name(tree.cursor) if opened is not None and tree.cursor is not None else None

    @property
    def names(self) -> list[str]:
        """The full names of the visible rows."""
        rows = self.screen.tree_view.rows
        return [rows.tree.name(node) for node in rows.visible] if rows is not None else []

    @property
    def matching(self) -> int | None:
        """How many tensors the filter leaves; None where no filter is on."""
        found = self.screen.filter.found
        return len(found.indices) if found is not None else None

    @property
    def facts(self) -> str:
        """The page of the detail pane."""
        return self.screen.detail.facts.plain()

    @property
    def values(self) -> str:
        """The window of values."""
        return self.screen.detail.grid.plain()

    @property
    def lines(self) -> list[str]:
        """What the terminal shows, line by line."""
        return [strip.text for strip in self.strips]

    @property
    def strips(self) -> list[Strip]:
        return self.app.screen._compositor.render_strips(self.app.size)

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

    def row(self, name: str) -> str:
        """The line of the screen on which the tree shows that name."""
        tree, opened = self.screen.tree_view, self.screen.opened
        assert opened is not None
        assert tree.rows is not None
        node = opened.tree.find(name)
        assert node is not None, name
        row = tree.rows.row_of(node)
        assert row is not None, f"{name} is not visible"
        y = row - tree.scroll_offset.y + tree.heading
        assert tree.heading <= y < tree.size.height, f"{name} is not on screen"
        return self.lines[tree.region.y + y][tree.region.x : tree.region.x + tree.region.width]

    @property
    def header(self) -> str:
        return "\n".join(self.lines[:2])

    @property
    def status(self) -> str:
        return self.lines[-1]


def _character(key: str) -> str | None:
    """The character that a key types, if any."""
    if len(key) == 1:
        return key
    try:
        return unicodedata.lookup(_get_unicode_name_from_key(REPLACED_KEYS.get(key, key)))
    except KeyError:
        return None


@asynccontextmanager
async def on_stage(
    source: Source | Callable[[], Source] | None = None,
    size: tuple[int, int] = (120, 36),
    *,
    settings: Settings | None = None,
    complaint: str | None = None,
    glyphs: Glyphs = UNICODE,
    is_settled: bool = True,
    choices: Choices | None = None,
    left: View | None = None,
    hint: str = "",
    looks: Looks | None = None,
    editor: Editor | None = None,
    other: Callable[[], Source] | None = None,
) -> AsyncIterator[Stage]:
    """The explorer on a source (a function that opens it, or nothing: the small model), come to rest."""
    if source is None:
        source = MemorySource(small_model())
    open_it = source if not isinstance(source, Source) else lambda: source
    app = ParamsApp(
        PendingSource("memory", open_it, open_other=other),
        settings=settings or Settings(theme="quiet-dark"),
        complaint=complaint,
        glyphs=glyphs,
        left=left,
        hint=hint,
        looks=looks,
        editor=editor,
    )
    if choices is not None:
        app.choices = choices
    try:
        async with app.run_test(size=size) as pilot:
            stage = Stage(app, pilot)
            if is_settled:
                await stage.until(lambda: len(app.screen_stack) > 1 and stage.is_resting, "the first rest")
                await stage.rest()
            yield stage
    finally:
        if isinstance(source, GatedSource):
            source.open_gates()
