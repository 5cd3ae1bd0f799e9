"""Exporting: what the main screen shows, written to a file."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from textual.app import App
from textual.screen import Screen

from tui_params.core import text
from tui_params.core.tensor import TensorInfo
from tui_params.core.window import Window, parse_window
from tui_params.tui.desk.messages import Exported
from tui_params.tui.screens.explorer.column_choice import ColumnChoice
from tui_params.tui.screens.explorer.filter import Filter
from tui_params.tui.screens.explorer.notice import Notice
from tui_params.tui.screens.explorer.order import Order
from tui_params.tui.screens.explorer.session import Session
from tui_params.tui.screens.writing import Writing, value_choice, values_maker
from tui_params.tui.state.changes import Changes
from tui_params.tui.state.columns import BY_NAME
from tui_params.tui.state.sorting import describe
from tui_params.tui.terminal.glyphs import Glyphs
from tui_params.tui.widgets.detail.tensor_detail import TensorDetail

if TYPE_CHECKING:
    from tui_params.core.export.contents import Contents
    from tui_params.tui.desk.desk import Desk
    from tui_params.tui.screens.export import Choice, Wish
    from tui_params.tui.state.listed import Row

_ALL = 1 << 62


class Exporting:
    """Opens the dialog, has the file written, and says in the status line how it goes."""

    def __init__(
        self,
        session: Session,
        screen: Screen[None],
        detail: TensorDetail,
        filter: Filter,
        order: Order,
        columns: ColumnChoice,
        notice: Notice,
        glyphs: Glyphs,
    ) -> None:
        self._session = session
        self._screen = screen
        self._detail = detail
        self._filter = filter
        self._order = order
        self._columns = columns
        self._notice = notice
        self._glyphs = glyphs
        self._info: TensorInfo | None = None
        self._windows: dict[str, Window] = {}
        """What can be written of the values of ``_info``, by the name of the choice."""
        self._writing = Writing(screen, notice, glyphs)

    @property
    def is_busy(self) -> bool:
        return self._writing.is_busy

    # The dialog

    def open(self, what: str = "") -> None:
        """Open the dialog at ``what`` (list, tensor, screen), or at what has the focus."""
        desk = self._session.desk
        if desk is None:
            return
        if self._writing.refuse():
            return
        choices = self._choices(desk)
        focused = self._screen.focused
        is_at_values = focused is not None and self._detail in focused.ancestors_with_self
        first = next((at for at, choice in enumerate(choices) if choice.name == what), None)
        if what and first is None:
            self._notice.say("Only a tensor has values: move to one first.")
            return
        if first is None:
            first = 1 if is_at_values and self._info is not None else 0
        self._writing.open(desk.opened.source, choices, first, lambda wish: self._maker(desk, wish))

    def _choices(self, desk: Desk) -> list[Choice]:
        from tui_params.core.export.file_name import suggest_stem
        from tui_params.tui.screens.export import Choice

        label, info = desk.opened.source.label, self._detail.info
        found, total = self._filter.found, len(desk.opened.tensors)
        which = text.plural(total, "tensor") if found is None else f"{found.summary} of {total:,}"
        headings = ", ".join(BY_NAME[name].heading for name in self._names())
        choices = [
            Choice(
                "list",
                f"{which}: {headings}",
                ("csv", "md", "json"),
                suggest_stem(label),
            )
        ]
        self._info, self._windows = info, self._windows_of(info) if info is not None else {}
        for name, window in self._windows.items():
            assert info is not None
            choices.append(value_choice(desk.opened.source, info, name, window))
        return [*choices, Choice("screen", "as it looks now, in colour", ("svg",), f"{suggest_stem(label)}-screen")]

    def _names(self) -> Sequence[str]:
        """The columns that are shown, and those that were chosen but find no room."""
        shown, chosen = self._columns.shown, self._columns.chosen
        return shown if chosen is None else [*chosen, *(name for name in shown if name not in chosen)]

    def _windows_of(self, info: TensorInfo) -> dict[str, Window]:
        """The slice, if one was chosen; of more than two dimensions the table on screen; and the whole tensor."""
        whole, view = parse_window("", info.shape), self._detail.grid.view
        windows: dict[str, Window] = {}
        if view is not None and view.window.axes != whole.axes:
            windows["slice"] = view.window
        if view is not None and view.leading and view.window.numel:
            windows["table"] = view.part(0, _ALL, 0, _ALL)
        return windows | {"tensor": whole}

    # The writing

    def _maker(self, desk: Desk, wish: Wish) -> Callable[[], Contents]:
        """What makes the contents, on another thread, from what is shown now."""
        if wish.choice.name == "list":
            return self._list_maker(desk, wish.form)
        if wish.choice.name == "screen":
            return screen_maker(self._screen)
        assert self._info is not None
        return values_maker(desk.opened.source, self._info, self._windows[wish.choice.name], wish.form)

    def _list_maker(self, desk: Desk, form: str) -> Callable[[], Contents]:
        opened, found, query, sort = desk.opened, self._filter.found, self._filter.query, self._order.choice
        indices = range(len(opened.tensors)) if found is None else found.indices
        names = self._names()
        pages = self._session.pages
        reasons = dict(pages.reasons) if pages is not None else {}
        changes = pages.changes if pages is not None else Changes()
        facts = {
            "source": opened.source.label,
            "format": opened.source.listing.format,
            "filter": query.text if query is not None and found is not None else None,
            "sort": None if sort.is_default else describe(sort, 80).removeprefix("by "),
            "compared": changes.since or None,
            "total": len(opened.tensors),
            "listed": len(indices),
            "undecided": found.coming + found.untold if found is not None else 0,
        }

        def rows() -> Iterator[Row]:
            from tui_params.tui.state.listed import UNREAD, Row

            listing, courses = opened.source.listing, opened.source.courses()
            for index in indices:
                info = opened.tensors[index]
                gradient = listing.gradients.get(info.name)
                yield Row(
                    info,
                    desk.figures(info.name),
                    info.unreadable or reasons.get(info.name, UNREAD),
                    gradient is not None,
                    desk.figures(gradient.name) if gradient is not None else None,
                    listing.modules.get(info.name.rpartition(".")[0], ""),
                    changes.of(info.name),
                    changes.of(gradient.name) if gradient is not None else None,
                    courses.of(info.name) if courses is not None else None,
                )

        def make() -> Contents:
            from tui_params.core.export.table import table_of
            from tui_params.tui.state.listed import fields_of, table_of_rows

            return table_of(table_of_rows(rows(), fields_of(names, is_drawn=form == "md"), len(indices), facts), form)

        return make

    def take(self, message: Exported) -> None:
        self._writing.take(message)

    def stop(self) -> bool:
        """Write no more; False if nothing is being written."""
        return self._writing.stop()

    def close(self, wait: float) -> None:
        """Write no more, and wait at most so many seconds until what was written is removed."""
        self._writing.close(wait)


def screen_maker(screen: Screen[None]) -> Callable[[], Contents]:
    """What makes the picture of a screen, without the dialogs above it, as it is now."""
    app: App[object] = screen.app
    title, (width, height) = app.title, app.size
    # As App.export_screenshot does, which draws the screen on top.
    painted = screen._compositor.render_update(full=True, screen_stack=[], simplify=True)

    def make() -> Contents:
        from tui_params.core.export.contents import Contents

        console = Console(
            width=width,
            height=height,
            file=io.StringIO(),
            force_terminal=True,
            color_system="truecolor",
            record=True,
            legacy_windows=False,
            safe_box=False,
        )
        console.print(painted)
        picture = console.export_svg(title=title).encode(errors="backslashreplace")
        return Contents(iter([picture]), len(picture))

    return make
