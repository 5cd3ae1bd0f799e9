"""ParamsApp: the Textual application around the explorer screen."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import RenderableType
from rich.style import Style
from textual._compositor import ChopsUpdate, LayoutUpdate
from textual.app import SystemCommand
from textual.binding import Binding
from textual.filter import LineFilter, Monochrome, NoColor
from textual.screen import Screen
from textual.theme import ThemeProvider

from tui_params.cache.choices import Choices
from tui_params.settings import Settings
from tui_params.tui import keys
from tui_params.tui.desk.pending_source import PendingSource
from tui_params.tui.screens.explorer.screen import ExplorerScreen
from tui_params.tui.state.looks import Looks
from tui_params.tui.state.view import View
from tui_params.tui.terminal import themes, wire
from tui_params.tui.terminal.first_paint import FirstPaint
from tui_params.tui.terminal.glyphs import Glyphs, choose
from tui_params.tui.terminal.key_order import KeyOrder
from tui_params.tui.terminal.shown import Shown

if TYPE_CHECKING:
    from tui_params.cache.figures import FigureCache
    from tui_params.core.edits import Editor
    from tui_params.tui.state.run import Run

_OTHER_SCREENS = Path(__file__).absolute().with_name("screens.tcss")


class ParamsApp(KeyOrder):
    """The explorer on one source; or, without one, the timeline of a run.

    Exits with return code 3 and a sentence in ``failure`` if that cannot be opened.
    """

    BINDINGS = [
        # Leaving loses nothing unsaid, so the usual key for stopping a program stops this one too.
        Binding("ctrl+c", "quit", "quit", show=False, priority=True),
        # In front of a box Textual looks for no other keys of the app.
        Binding("ctrl+z", "suspend_process", "suspend", show=False, priority=True),
        Binding(keys.REPAINT.keys, "repaint", "repaint", show=False, priority=True, id=keys.REPAINT.id),
    ]
    CSS_PATH = "app.tcss"
    TITLE = "tui-params"
    ENABLE_COMMAND_PALETTE = True
    HORIZONTAL_BREAKPOINTS = [(0, "-stacked"), (72, "-narrow"), (100, "-medium"), (150, "-wide")]
    VERTICAL_BREAKPOINTS = [(0, "-short"), (30, "-tall"), (50, "-towering")]

    def __init__(
        self,
        opening: PendingSource | None,
        *,
        settings: Settings | None = None,
        complaint: str | None = None,
        glyphs: Glyphs | None = None,
        cache: FigureCache | None = None,
        left: View | None = None,
        hint: str = "",
        looks: Looks | None = None,
        editor: Editor | None = None,
        run: Run | None = None,
    ) -> None:
        self._left = left
        self._looks = looks
        self._explorer: ExplorerScreen | None = None
        self._inks: tuple[str, dict[str, Style]] | None = None
        super().__init__()
        # https://no-color.org: an empty value does not count.
        self.no_color = bool(os.environ.get("NO_COLOR"))
        self._can_erase = wire.erases_in_colour(os.environ)
        self._shown = Shown()
        self.opening = opening
        self.glyphs = glyphs or choose()
        self.settings = settings or Settings()
        self.complaint = complaint
        self.cache = cache
        self.hint = hint
        self.editor = editor
        self._run_of = run
        self.choices = Choices(cache.store if cache is not None else None)
        self.failure: str | None = None
        self._thread_fault: Exception | None = None
        self._running_in: asyncio.AbstractEventLoop | None = None
        self._must_leave = False
        self.animation_level = "none"  # every frame of an animation would travel over SSH
        self.register_theme(themes.DARK)
        self.register_theme(themes.LIGHT)
        wanted = self.settings.theme or themes.first_theme()
        if wanted in self.available_themes:
            self.theme = wanted
        else:
            self.theme = themes.first_theme({})
            self.complaint = self.complaint or f"there is no theme {wanted!r}"
        self.set_keymap(dict(self.settings.keys))

    @property
    def _background_screens(self) -> list[Screen[Any]]:
        # Textual counts the screen below also where the one above covers it, and paints all of that one when anything
        # changes below: 9 kB ten times a second inside a tensor that is being read.
        is_covering = bool(self._screen_stack) and self._screen_stack[-1].styles.background.a == 1
        return [] if is_covering else super()._background_screens

    def get_css_variables(self) -> dict[str, str]:
        return themes.variables_of(self.current_theme, super().get_css_variables())

    def get_default_screen(self) -> Screen[Any]:
        return FirstPaint(id="_default")  # the other one covers it: nobody sees it

    def refresh_css(self, animate: bool = True) -> None:
        if self._screen_stack:
            super().refresh_css(animate=animate)
        else:
            # The theme is chosen before there is a screen: what is parsed for that would be parsed again with it.
            self.stylesheet.set_variables(self.get_css_variables())

    def _load_screen_css(self, screen: Screen[object]) -> None:
        # The styles of all other screens take 4 ms to read, which the first paint of the main one need not wait for.
        if not isinstance(screen, FirstPaint) and not self.stylesheet.has_source(str(_OTHER_SCREENS), ""):
            self.stylesheet.read(_OTHER_SCREENS)
        super()._load_screen_css(screen)

    def get_line_filters(self) -> Sequence[LineFilter]:
        # Textual has two filters that remove colour, and chooses by the first theme, not by the current one. Only the
        # terminal knows what its sixteen colours are: Monochrome would make them black on black.
        filters = [item for item in super().get_line_filters() if not isinstance(item, (Monochrome, NoColor))]
        if self.no_color:
            filters.append(NoColor() if self.native_ansi_color else Monochrome())
        return filters

    @property
    def inks(self) -> dict[str, Style]:
        """The styles of painted text under the current theme."""
        if self._inks is None or self._inks[0] != self.theme:
            self._inks = (
                self.theme,
                themes.inks_of(self.current_theme, self.get_css_variables(), is_tinted=not self.no_color),
            )
        return self._inks[1]

    def _display(self, screen: Screen[object], renderable: RenderableType | None) -> None:
        if isinstance(renderable, ChopsUpdate):
            renderable = wire.tightened(renderable, self._shown, can_erase=self._can_erase)
        elif renderable is not None:
            self._shown.forget()
            if isinstance(renderable, LayoutUpdate):
                renderable = wire.placed(renderable, can_erase=self._can_erase)
        super()._display(screen, renderable)

    def on_resize(self) -> None:
        self._shown.forget()

    def action_repaint(self) -> None:
        """Send every cell again: another program may have written over the screen."""
        self._shown.forget()
        self.screen.refresh()

    def _fatal_error(self) -> None:
        """Leave the screen after a fault of ours; ``fault`` has it. Textual would print every frame with its locals."""
        self._close_messages_no_wait()

    @property
    def fault(self) -> Exception | None:
        """An unforeseen exception in the app or in one of our threads."""
        return self._exception

    @property
    def view(self) -> View | None:
        """Where the user was when the explorer was left."""
        return self._explorer.travel.view if self._explorer is not None else None

    def fail(self, fault: Exception) -> None:
        """Leave the screen because of a fault in a thread; called from any thread, also before the app runs."""
        self._thread_fault = fault
        if self.is_running:
            self.call_later(self._raise_thread_fault)

    def _raise_thread_fault(self) -> None:
        if self._thread_fault is not None:
            raise self._thread_fault

    def leave(self) -> None:
        """Leave the screen as the key for it does; called by the handler of a signal, also before the app runs."""
        self._must_leave = True
        if self._running_in is not None and not self._running_in.is_closed():
            # The loop may be waiting for a key, and would not look at a message that is only put into its queue.
            self._running_in.call_soon_threadsafe(self.exit)

    def on_mount(self) -> None:
        self._raise_thread_fault()
        self._running_in = asyncio.get_running_loop()
        # What the shell wrote meanwhile is gone, and so is all that was on screen.
        self.app_resume_signal.subscribe(self, lambda _: self.action_repaint())
        if self._must_leave:
            self.exit()
            return
        if self.opening is not None:
            self._explore(self.opening)
        elif self._run_of is not None:
            from tui_params.tui.screens.timeline.screen import TimelineScreen

            self.push_screen(TimelineScreen(self._run_of, self.glyphs, is_main=True))
        if self.complaint is not None:
            self.notify(self.complaint, severity="warning", markup=False)

    def _explore(self, opening: PendingSource) -> None:
        more = self._left, self.hint, self._looks, self.editor
        self._explorer = ExplorerScreen(opening, self.glyphs, self.cache, self.choices, *more)
        self._explorer.begin_with(self.size, self.HORIZONTAL_BREAKPOINTS, self.VERTICAL_BREAKPOINTS)
        self.push_screen(self._explorer)

    async def action_quit(self) -> None:
        """Leave, but say first if that would lose staged edits."""
        if self._explorer is None or not self._explorer.editing.warn_before_leaving():
            self.exit()

    def action_command_palette(self) -> None:
        from tui_params.tui.screens.palette import Palette

        if not isinstance(self.screen, Palette):
            self.push_screen(Palette(id="--command-palette"))

    def search_themes(self) -> None:
        from tui_params.tui.screens.palette import Palette

        self.push_screen(Palette(providers=[ThemeProvider], placeholder="Search for themes…"))

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        if isinstance(screen, ExplorerScreen):
            edits = keys.EDITS if screen.editing.is_editable else ()
            for key in (*keys.SCREEN, *keys.COMPARE, *keys.TREE[8:], *edits):
                if key.id != "palette":
                    about = f"{key.tooltip} ({keys.shown(key.id, self.settings.keys)})"
                    run = partial(self._run, key.action, on_tree=key.id.startswith("tree."))
                    yield SystemCommand(key.label.capitalize(), about, run)
            for what in ("list", "tensor", "screen"):
                about = f"Write the {what} to a file ({keys.shown('export', self.settings.keys)})"
                yield SystemCommand(f"Write the {what}", about, partial(self._run, f"export('{what}')"))
        else:
            from tui_params.tui.screens.tensor.screen import TensorScreen
            from tui_params.tui.screens.timeline.screen import TimelineScreen

            if isinstance(screen, (TensorScreen, TimelineScreen)):
                for key, target in screen.commands():
                    about = f"{key.tooltip} ({keys.shown_of(key, self.settings.keys)})"
                    yield SystemCommand(
                        key.label.capitalize(), about, partial(self.call_later, self.run_action, key.action, target)
                    )
        yield SystemCommand("Theme", "Choose the colours", self.action_change_theme)

    def _run(self, action: str, *, on_tree: bool = False) -> None:
        screen = self.screen
        if isinstance(screen, ExplorerScreen):
            if on_tree:
                screen.tree_view.focus()
            self.call_later(self.run_action, action, screen.tree_view if on_tree else screen)
