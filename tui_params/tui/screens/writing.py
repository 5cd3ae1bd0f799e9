"""Writing: one file that the user asked a screen for: the dialog, the thread that writes, and what is said of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from textual.screen import Screen

from tui_params.core import text
from tui_params.core.source import Source
from tui_params.core.tensor import TensorInfo
from tui_params.core.window import Window
from tui_params.tui.desk.messages import Exported
from tui_params.tui.screens.explorer.notice import Notice
from tui_params.tui.terminal.glyphs import Glyphs

if TYPE_CHECKING:
    from tui_params.core.export.contents import Contents
    from tui_params.tui.desk.exporting import Exports
    from tui_params.tui.screens.export import Choice, ExportScreen, Wish

_BAR = 8
"""Cells of the bar that shows how far the writing is."""

_WIDE = 100
"""Columns of the terminal from which on there is room for it."""


class Writing:
    """Opens the dialog, has the file written, and says in the status line of a screen how it goes."""

    def __init__(self, screen: Screen[None], notice: Notice, glyphs: Glyphs) -> None:
        self._screen = screen
        self._notice = notice
        self._glyphs = glyphs
        self._dialog: ExportScreen | None = None
        self._exports: Exports | None = None
        """What is being written."""

    @property
    def is_busy(self) -> bool:
        return self._exports is not None

    def open(
        self, source: Source, choices: Sequence[Choice], first: int, make: Callable[[Wish], Callable[[], Contents]]
    ) -> None:
        """Open the dialog; ``make`` gives for a wish what makes the contents, on another thread."""
        from tui_params.tui.screens.export import ExportScreen

        def begin(wish: Wish) -> None:
            if self._dialog is not None:
                from tui_params.tui.desk.exporting import Exports

                self._exports = exports = Exports(source, self._screen.post_message)
                exports.begin(wish.path, make(wish), may_replace=wish.may_replace)

        self._dialog = ExportScreen(self._glyphs, choices, first, begin, self.stop)
        self._screen.app.push_screen(self._dialog, self._forget)

    def refuse(self) -> bool:
        """Whether another file is being written, which is said."""
        if self.is_busy:
            self._notice.say("One file is being written already; esc stops it.")
        return self.is_busy

    def _forget(self, _: object) -> None:
        self._dialog = None

    def take(self, message: Exported) -> None:
        """Take how the writing goes: an obstacle goes to the dialog, as long as that is open."""
        dialog, path = self._dialog, text.clean(message.path, 40)
        if message.state == "writing":
            self._notice.keep(f"writing {path}, {self._share(message)}")
            if dialog is not None:
                dialog.finish()
        else:
            self._exports = None
            self._notice.keep("")
            self._end(message, path)

    def _share(self, message: Exported) -> str:
        if not message.total:
            return text.size(message.done)
        share = f"{100 * message.done // message.total} %"
        if self._screen.size.width < _WIDE:
            return share
        filled, rest = _BAR * message.done // message.total, "-" if self._glyphs.is_ascii else "░"
        return f"{self._glyphs.bar * filled}{rest * (_BAR - filled)} {share}"

    def _end(self, message: Exported, path: str) -> None:
        dialog = self._dialog
        if message.state == "written":
            about = f"; {message.words}" if message.words else ""
            self._notice.say(f"Wrote {path} ({text.size(message.done)}){about}", seconds=30)
            if dialog is not None:
                dialog.finish()
        elif message.state == "stopped":
            self._notice.say(f"Stopped: {path} is not written.")
        elif dialog is not None:
            dialog.say(message.words, is_occupied=message.state == "occupied")
        else:
            words = f"{path} is not written: {text.clean(message.words, 300)}"
            self._notice.say(words, seconds=30)
            self._screen.notify(words, title="Not written", severity="error", timeout=30, markup=False)

    def stop(self) -> bool:
        """Write no more; False if nothing is being written."""
        if self._exports is None:
            return False
        self._exports.stop()
        return True

    def close(self, wait: float) -> None:
        """Write no more, and wait at most so many seconds until what was written is removed."""
        if self._exports is not None:
            self._exports.stop()
            self._exports.join(wait)


def values_maker(source: Source, info: TensorInfo, window: Window, form: str) -> Callable[[], Contents]:
    """What makes the file of the values at a window, as ``npy`` or ``csv``."""

    def make() -> Contents:
        from tui_params.core.export.npy import npy_of
        from tui_params.core.export.values_csv import csv_of

        return (npy_of if form == "npy" else csv_of)(source, info, window)

    return make


def value_choice(source: Source, info: TensorInfo, name: str, window: Window) -> Choice:
    """A window of a tensor as a choice of the dialog."""
    from tui_params.core.export.file_name import suggest_stem
    from tui_params.tui.screens.export import Choice

    stem, dtype = suggest_stem(source.label, info.name), text.clean(info.dtype.short, 12)
    size = text.size(info.dtype.nbytes(window.numel))
    is_whole = name == "tensor"
    about = text.shape(info.shape) if is_whole else f"{window.expression} of {text.shape(info.shape)}"
    return Choice(name, f"{about} {dtype}, {size}", ("npy", "csv"), stem if is_whole else f"{stem}-{name}")
