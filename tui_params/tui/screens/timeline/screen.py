"""TimelineScreen: the tensors of a run with their norms and changes over the steps; it fills in while it is read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from textual.app import ComposeResult
from textual.containers import Container
from textual.screen import Screen
from textual.widget import Widget

from tui_params.core.compare.tracks import Step
from tui_params.core.compare.verdict import Progress
from tui_params.core.reading.outcome import attempt
from tui_params.settings import Settings
from tui_params.tui import keys
from tui_params.tui.desk import timeline_desk
from tui_params.tui.desk.timeline_desk import TimelineDesk
from tui_params.tui.desk.worker import Worker
from tui_params.tui.screens.explorer import delays
from tui_params.tui.screens.explorer.delays import Delays
from tui_params.tui.screens.explorer.notice import Notice
from tui_params.tui.screens.tensor.ask_bar import AskBar
from tui_params.tui.screens.tensor.header import key_line
from tui_params.tui.screens.timeline.broken import BrokenSteps
from tui_params.tui.screens.timeline.fetch_question import FetchQuestion
from tui_params.tui.screens.timeline.header import Head, head_lines
from tui_params.tui.state.run import Run
from tui_params.tui.state.track_rows import ORDERS, Order, TrackRow, arranged, folded
from tui_params.tui.terminal.frozen_message import FrozenMessage
from tui_params.tui.terminal.glyphs import Glyphs
from tui_params.tui.terminal.line import Line
from tui_params.tui.widgets.bars import Divider, StripBar
from tui_params.tui.widgets.detail.text_lines import wrapped
from tui_params.tui.widgets.timeline.page_view import TrackPage
from tui_params.tui.widgets.timeline.track_list import TrackList
from tui_params.tui.widgets.timeline.track_page import track_page

AGAIN = 0.2
"""Seconds after which the rows are arranged again, if more have come."""

AT_ONCE = 3_000
"""Rows that are arranged within 15 ms, so that no key waits."""


class TimelineScreen(Screen[str | None]):
    """The timeline of one run; dismissed with the name of a tensor to go to. ``is_main``: there is no tree below it."""

    BINDINGS = keys.bindings(keys.TIMELINE)
    AUTO_FOCUS = "TrackList"

    @dataclass(eq=False)
    class Arranged(FrozenMessage):
        """The rows in their order, as they were asked for."""

        number: int
        rows: list[TrackRow]

    @dataclass(eq=False)
    class Drawn(FrozenMessage):
        """The page that was drawn for a row in so many cells."""

        key: object
        lines: list[Line]

    def __init__(self, run: Run, glyphs: Glyphs, *, is_main: bool = False) -> None:
        super().__init__()
        self.glyphs = glyphs
        self.desk: TimelineDesk | None = None
        self.notice = Notice(self, self.update_bars)
        self.fetching = FetchQuestion(self.notice, self._key_of, lambda: self.size.width)
        self.waiting = Delays(self)
        self.tracks = TrackList(glyphs, id="tracks")
        self.page = TrackPage(id="track-page")
        self.ask = AskBar(id="ask")
        self._bars = StripBar(id="timeline-head"), StripBar(id="timeline-keys")
        self._run_of, self._is_main = run, is_main
        self._generation = 0
        self._order: Order = ORDERS[0]
        self._words, self._is_kept = "", True
        self._is_folded = self._has_kinds = False  # as it was asked for, and as it is on screen by now
        self._drawer, self._arranger = (Worker(name, self._fail) for name in ("timeline page", "timeline rows"))
        self._asked_order, self._shown_order = 0, 0
        self._drawn: Any = None
        self._asked: object = None
        self._begin()

    def _begin(self) -> None:
        """Forget what was read."""
        self._generation += 1
        self._steps: tuple[Step, ...] = ()
        self._by_name: dict[str, TrackRow] = {}
        self._broken = BrokenSteps()
        self._has_unread = False
        self._progress: Progress | None = None
        self._is_reading, self._is_stopped = True, False
        self._failure = ""
        self._waits = ""
        self._is_old = False
        self.fetching.waits = None

    def compose(self) -> ComposeResult:
        yield self._bars[0]
        with Container(id="timeline-body"):
            yield self.tracks
            yield Divider(self.glyphs, id="timeline-divider")
            yield self.page
        yield self.ask
        yield self._bars[1]

    def on_mount(self) -> None:
        self.set_class(self.glyphs.is_ascii, "-ascii")
        self.ask.display = False
        self.set_interval(AGAIN, self._sort_if_old)
        self._read()

    def on_unmount(self) -> None:
        self._drawer.stop()
        self._arranger.stop()
        if self.desk is not None:
            self.desk.close(0.2)

    def _read(self) -> None:
        if self.desk is not None:
            self.desk.stop()
        self._begin()
        cache = getattr(self.app, "cache", None)
        store = cache.store if cache is not None else None
        chosen = getattr(self.app, "settings", None) or Settings()
        self.desk = TimelineDesk(self._run_of, self._generation, self.post_message, store, chosen.fetch_below)
        self._sort()
        self.update_bars()

    @property
    def is_settled(self) -> bool:
        """Whether all that was read is shown; for tests and pictures."""
        is_drawn = self._asked == self._drawn and self.waiting.is_empty
        return not (self._is_reading or self._is_old) and is_drawn and self._shown_order == self._asked_order

    # What the desk says

    def on_run_opened(self, message: timeline_desk.RunOpened) -> None:
        if message.generation == self._generation:
            self._steps, self._is_reading, self._progress = message.steps, True, None
            self._has_unread = any(step.reason is not None for step in message.steps)
            self._is_old = True
            self.update_bars()

    def on_fetch_waits(self, message: timeline_desk.FetchWaits) -> None:
        if message.generation == self._generation:
            self._is_reading = False
            self.fetching.take(message)
            self._sort()

    def on_tracks_read(self, message: timeline_desk.TracksRead) -> None:
        if message.generation != self._generation:
            return
        for row in message.rows:
            self._by_name[row.name] = row
            if row.first_broken is not None:
                self._broken.take(row, row.first_broken)
            self._has_unread |= any(moment is not None and moment.reason for moment in row.track.moments)
        self._progress = message.progress
        self._is_old |= bool(message.rows)
        self.update_bars()

    def on_run_ended(self, message: timeline_desk.RunEnded) -> None:
        if message.generation != self._generation:
            return
        self._is_reading = False
        if message.reason:
            self._failure = message.reason
            if self._is_main and not self._steps:
                self.app.failure = message.reason  # type: ignore[attr-defined]
                self.app.exit(return_code=3)
                return
        self._sort()
        self.update_bars()

    def on_step_waits(self, message: timeline_desk.StepWaits) -> None:
        if message.generation == self._generation:
            self._waits = message.words
            self.update_bars()

    # The rows

    def _sort_if_old(self) -> None:
        if self._is_old and self._shown_order == self._asked_order:
            self._sort()

    def _sort(self) -> None:
        """Show what is known by now; a long list is arranged in a thread."""
        self._is_old = False
        self._asked_order += 1
        number, rows, words, order = self._asked_order, list(self._by_name.values()), self._words, self._order
        make = folded if self._is_folded else arranged
        if len(rows) <= AT_ONCE:
            self._show_rows(number, make(rows, words, order))
            return

        def arrange() -> None:
            if number == self._asked_order:
                self.post_message(self.Arranged(number, make(rows, words, order)))

        self._arranger.do(arrange)

    def _fail(self, reason: str) -> None:
        self.post_message(timeline_desk.StepWaits(self._generation, f"the rows were not arranged: {reason}"))

    def on_timeline_screen_arranged(self, message: Arranged) -> None:
        if message.number == self._asked_order:
            self._show_rows(message.number, message.rows)

    def _show_rows(self, number: int, rows: list[TrackRow]) -> None:
        self._shown_order = number
        self._has_kinds = self._is_folded  # an order that was asked for before is not shown any more
        if self._by_name:
            self.tracks.words = "No tensor has this text in its name."
        else:
            self.tracks.words = "" if self._failure else self.fetching.words or "The checkpoints are being read."
        self.tracks.show(rows, self._steps)
        self._show_page_soon()
        self.update_bars()

    def on_track_list_moved(self, message: TrackList.Moved) -> None:
        if self.fetching.waits is None:
            self.notice.clear()
        self._show_page_soon()

    def _show_page_soon(self) -> None:
        self.waiting.call("page", delays.DETAIL_DELAY, self._show_page)

    def _show_page(self) -> None:
        """Have the page of the tensor at the cursor drawn."""
        row, size, steps, glyphs = self.tracks.current, self.page.content_size, self._steps, self.glyphs
        if row is None or size.width <= 0 or size.height <= 0:
            self._asked = self._drawn = None
            self.page.set_lines([])
            return
        key = row, size, steps
        if key == self._asked:
            return
        self._asked = key

        def draw() -> None:
            if self._asked is key:  # not one that the cursor has passed meanwhile
                lines, reason = attempt(lambda: track_page(row, steps, size.width, size.height, glyphs))
                self.post_message(self.Drawn(key, lines or wrapped(reason or "", size.width, "warning")))

        self._drawer.do(draw)

    def on_timeline_screen_drawn(self, message: Drawn) -> None:
        if message.key is self._asked:
            before, self._drawn = self._drawn, message.key
            self.page.set_lines(message.lines, from_top=before is None or before[0].name != self._drawn[0].name)

    def on_track_page_resized(self, message: TrackPage.Resized) -> None:
        self._show_page()

    # The bars

    def _key_of(self, name: str) -> str:
        return keys.first(f"timeline.{name}", self._changed_keys)

    @property
    def _changed_keys(self) -> dict[str, str]:
        return getattr(getattr(self.app, "settings", None), "keys", {})

    def update_bars(self) -> None:
        if not self.is_mounted:
            return
        head = Head(
            label=self._run_of.label,
            steps=self._steps,
            shown=sum(row.count for row in self.tracks.rows) if self._has_kinds else len(self.tracks.rows),
            kinds=len(self.tracks.rows) if self._has_kinds else 0,
            count=len(self._by_name),
            order=self._order,
            words=self._words,
            broken=self._broken.first,
            has_unread=self._has_unread or self._is_stopped or self.fetching.waits is not None,
            progress=self._progress,
            is_reading=self._is_reading,
            is_stopped=self._is_stopped,
            failure=self._failure,
            waits=self._waits or ("not read yet" if self.fetching.waits is not None else ""),
        )
        self._bars[0].show(lambda width: head_lines(head, width, self.glyphs))
        self._bars[1].show(self._key_lines)

    @property
    def _hinted(self) -> tuple[str, ...]:
        here = ("sort", "kinds", "search", "leave", "help")
        return here if self._is_main else ("enter", *here)

    def _key_lines(self, width: int) -> list[Line]:
        hints = [key for key in keys.TIMELINE if key.id.partition(".")[2] in self._hinted]
        running = "reading the run" if self._is_reading else ""
        return [key_line(self.notice.words, running, hints, self._changed_keys, width)]

    # Keys

    def commands(self) -> Iterator[tuple[keys.Key, Widget]]:
        """What the palette offers."""
        for key in keys.TIMELINE[7:]:
            if key.id != "timeline.palette":
                yield key, self

    def action_move(self, by: int) -> None:
        self.tracks.move(by)

    def action_page(self, by: int) -> None:
        self.tracks.page(by)

    def action_edge(self, by: int) -> None:
        self.tracks.edge(by)

    def action_scroll_page(self, by: int) -> None:
        self.page.scroll_lines(self.page.top + by * max(1, self.page.size.height - 2))

    def action_sort(self) -> None:
        self._order = ORDERS[(ORDERS.index(self._order) + 1) % len(ORDERS)]
        self._sort()
        self.tracks.to_start()
        self.notice.say(f"Sorted by {self._order}.")

    def action_kinds(self) -> None:
        """Fold the tensors to kinds, or show all again; the cursor stays on its tensor."""
        self._is_folded = not self._is_folded
        self.tracks.hold()
        self._sort()

    def action_search(self) -> None:
        self._is_kept = False
        self.ask.ask("/", self._words, lambda words: None, self._keep, "a part of the name")

    def _keep(self, words: str) -> None:
        self._is_kept = True

    def on_ask_bar_judged(self, message: AskBar.Judged) -> None:
        if self.ask.display and self.ask.field.value != self._words:
            self._filter(self.ask.field.value)

    def on_ask_bar_closed(self, message: AskBar.Closed) -> None:
        self.tracks.focus()
        if not self._is_kept:
            self._filter("")

    def _filter(self, words: str) -> None:
        self._words = words
        self._sort()

    def action_clear(self) -> None:
        """Stop the reading; or drop the filter; or go back."""
        if self.notice.withdraw():
            return
        if self._is_reading and self.desk is not None:
            self.desk.stop()
            self._generation += 1  # what is on its way is not shown any more
            self._is_reading, self._is_stopped = False, True
            self._sort()
            self.notice.say(f"The reading was stopped: {self._key_of('reload')} reads the run again.")
        elif self._words:
            self._filter("")
        elif self._is_main:
            self.notice.say(f"{self._key_of('leave')} leaves.")
        else:
            self.dismiss(None)

    def action_leave(self) -> None:
        if self._is_main:
            self.app.exit()
        else:
            self.dismiss(None)

    def action_enter(self) -> None:
        """To the tensor at the cursor, in the tree."""
        row = self.tracks.current
        if self._is_main:
            self.notice.say("There is no tree here: tui-params CHECKPOINT looks into one checkpoint.")
        elif row is not None:
            self.dismiss(row.name)

    def action_fetch(self) -> None:
        if self.fetching.agree() and self.desk is not None:
            self._is_reading = True
            self.desk.fetch()
            self._sort()

    def action_reload(self) -> None:
        self.notice.clear()
        self._read()

    def action_help(self) -> None:
        from tui_params.tui.screens.timeline.help import TimelineHelp

        self.app.push_screen(TimelineHelp(self.glyphs))
