"""TensorScreen: inside one tensor: one place, seen through lenses."""

from __future__ import annotations

from collections.abc import Hashable, Mapping

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Container
from textual.widget import Widget

from tui_params.core import text
from tui_params.core.reading.value_part import Element, read_element
from tui_params.core.tensor import TensorInfo
from tui_params.errors import UnknownTensorError
from tui_params.tui import keys
from tui_params.tui.desk.messages import Exported
from tui_params.tui.desk.tensor_desk import Answer, Task, TensorDesk
from tui_params.tui.keys import Key
from tui_params.tui.screens.explorer.notice import Notice
from tui_params.tui.screens.tensor.ask_bar import AskBar
from tui_params.tui.screens.tensor.header import Head, key_line, place_line, tab_spans, tabs_line, title_line
from tui_params.tui.screens.tensor.indices import index_asked, slice_asked
from tui_params.tui.screens.tensor.lenses import LENSES, hints_of, lens_keys
from tui_params.tui.screens.tensor.subject import Subject
from tui_params.tui.screens.tensor.tolls import Tolls
from tui_params.tui.screens.tensor.windows import windows_of
from tui_params.tui.screens.writing import Writing, value_choice, values_maker
from tui_params.tui.state.layers import same_in_layers
from tui_params.tui.state.place import Place
from tui_params.tui.state.stays import Stays
from tui_params.tui.terminal.glyphs import Glyphs
from tui_params.tui.terminal.quick_screen import QuickScreen
from tui_params.tui.widgets.bars import StripBar
from tui_params.tui.widgets.lenses.lens import Lens, Seen

_SLOT = "place"
"""The slot of the desk in which the value at the place is read."""


_Key = tuple[str, "tuple[int, ...] | None", Hashable]
"""A tensor, an index in it, and the version of its values."""


class TensorScreen(QuickScreen):
    """The header, the lens that is up, and the line of keys. The app keeps it when it is left."""

    BINDINGS = [
        *keys.bindings(keys.TENSOR),
        *(Binding(key.keys, key.action, key.label, show=False, id=key.id) for key in lens_keys()),
    ]
    AUTO_FOCUS = None

    def __init__(self, glyphs: Glyphs, subject: Subject, info: TensorInfo, place: Place | None, stays: Stays) -> None:
        super().__init__()
        self.glyphs = glyphs
        self.subject = subject
        self.info = info
        self.stays = stays
        self.place = place if place is not None else stays.place(info)
        self.desk = TensorDesk(subject.source, self.post_message, subject.summary_of)
        self.tolls = Tolls(lambda: self.subject, lambda: keys.first("tensor.fetch", self._changed_keys))
        self.desk.refuse = self.tolls.refusal
        self.desk.most_beside = self.tolls.most_beside
        self.notice = Notice(self, self.update_bars)
        self.writing = Writing(self, self.notice, glyphs)
        self._lenses: dict[str, Lens] = {}
        self._up = ""
        self._title, self._where = StripBar(id="tensor-title"), StripBar(id="tensor-place")
        self._tabs, self._line = StripBar(id="tensor-tabs"), StripBar(id="tensor-keys")
        self._ask = AskBar(id="ask")
        self._room = Container(id="lens")
        self._reason = ""
        self._asked: _Key | None = None
        self._value: tuple[_Key | None, Element | None, str | None] = (None, None, None)

    def compose(self) -> ComposeResult:
        yield self._title
        yield self._where
        yield self._ask
        yield self._tabs
        yield self._room
        yield self._line

    def on_mount(self) -> None:
        self._ask.display = False
        self.set_class(self.glyphs.is_ascii, "-ascii")
        self.look_into(self.subject, self.info, self.place)

    def on_unmount(self) -> None:
        self.writing.close(wait=2.0)
        self.desk.close()

    # What is seen

    @property
    def lens(self) -> Lens | None:
        """The lens that is up."""
        return self._lenses.get(self._up)

    @property
    def is_settled(self) -> bool:
        """Whether everything that was asked for is shown; for tests and pictures."""
        lens = self.lens
        return self._value[0] == self._asked and lens is not None and lens.is_settled

    def on_screen_resume(self) -> None:
        if self.lens is not None and not self._ask.display:
            self.lens.focus()

    def look_into(self, subject: Subject, info: TensorInfo, place: Place | None = None) -> None:
        """Show a tensor, at a place, or where one was in it last."""
        if subject.source is not self.subject.source:
            self.desk.renew(subject.source)
        self.subject = subject
        self.info, self.place = info, place if place is not None else self.stays.place(info)
        self.tolls.want_figures(self.info)
        self._raise_lens(self.stays.lens_of(info.name))
        self._show()

    def renew(self, subject: Subject) -> None:
        """The source was opened again, its values have changed, or figures have come."""
        if subject.source is not self.subject.source:
            self.desk.renew(subject.source)
        self.subject = subject
        try:
            info = subject.source.find(self.info.name)
        except UnknownTensorError:
            self.notice.say(f"{text.clean(self.info.name, 60)} is not there any more.", stays=True)
            return
        if info.shape != self.info.shape:
            self.place = self.place.carried(info.shape)
            self.notice.say(f"The tensor has another shape now: {text.shape(info.shape)}.")
        self.info = info
        self._show()

    def _keep(self) -> None:
        if self._up:
            self.stays.leave(self.info.name, self.place, self._up)

    def _raise_lens(self, slot: str) -> None:
        """Bring a lens up; it is made when it is first wanted."""
        entry = next((entry for entry in LENSES if entry.slot == slot), LENSES[0])
        if entry.slot == self._up:
            return
        before = self.lens
        if before is not None:
            before.hide()
            before.display = False
        self._up = entry.slot
        lens = self._lenses.get(entry.slot)
        if lens is None:
            lens = self._lenses[entry.slot] = entry.kind(self.glyphs, self.desk)
            self._room.mount(lens)
        lens.display = True
        lens.focus()

    def _show(self) -> None:
        self._keep()
        self._ask_for_value()
        if self.lens is not None:
            figures = self.subject.figures(self.info.name)
            self.lens.show(Seen(self.info, self.place, self.subject.version, figures))
        self.update_bars()

    def _go(self, place: Place) -> None:
        if place != self.place:
            self.place = place
            self.notice.clear()
            self._show()

    def _ask_for_value(self) -> None:
        """Ask for the value at the place, in a thread."""
        info, index = self.info, self.place.index
        key = (info.name, index, self.subject.version)
        if key == self._asked:
            return
        self._asked = key
        if info.unreadable is not None or index is None:
            self._value = (key, None, info.unreadable)
            return

        def read(task: Task) -> Element:
            task.check()
            return read_element(self.desk.source, info, index)

        self.desk.ask(_SLOT, key, read)

    def on_answer(self, answer: Answer) -> None:
        if answer.slot == _SLOT:
            if answer.key == self._asked:
                value = answer.result if isinstance(answer.result, Element) else None
                self._value = (self._asked, value, answer.reason)
                self.update_bars()
            return
        for slot, lens in self._lenses.items():
            if answer.slot.startswith(slot):
                lens.take(answer)

    # What the lenses say

    def on_lens_moved(self, message: Lens.Moved) -> None:
        if message.place.shape != self.info.shape:
            return  # it was found in the tensor before: meanwhile the layer was changed
        if message.lens is not None:
            self._raise_lens(message.lens)
            self.place = message.place
            self._show()
        else:
            self._go(message.place)

    def on_lens_told(self, message: Lens.Told) -> None:
        self.notice.say(message.words)

    def on_lens_restated(self, message: Lens.Restated) -> None:
        self.update_bars()

    def on_lens_asked(self, message: Lens.Asked) -> None:
        self._ask_for(message)

    def on_lens_copies(self, message: Lens.Copies) -> None:
        from tui_params.tui.screens.tensor.copying import CopyScreen

        self.app.push_screen(CopyScreen(self.glyphs, message.choices))

    def on_lens_copied(self, message: Lens.Copied) -> None:
        self.app.copy_to_clipboard(message.text)
        self.notice.say(f"Copied {message.words}.")

    # The bars

    @property
    def _changed_keys(self) -> Mapping[str, str]:
        return getattr(getattr(self.app, "settings", None), "keys", {})

    @property
    def head(self) -> Head:
        """What the lines above the lens say now."""
        key, value, reason = self._value
        # That of an earlier version stays until the new one is read.
        is_here = key is not None and self._asked is not None and key[:2] == self._asked[:2]
        return Head(
            glyphs=self.glyphs,
            info=self.info,
            place=self.place,
            value=value if is_here else None,
            reason=reason if is_here else None,
            titles=tuple(entry.title for entry in LENSES),
            lens=next((number for number, entry in enumerate(LENSES) if entry.slot == self._up), 0),
            state=list(self.lens.state) if self.lens is not None else [],
            about=self.subject.about,
        )

    def update_bars(self) -> None:
        if not self.is_mounted:
            return
        head, hints, changed = self.head, self._hints(), self._changed_keys
        said, running = self._reason or self.notice.words, self.notice.running
        self._title.show(lambda width: [title_line(head, width)])
        self._where.show(lambda width: [place_line(head, width)])
        self._tabs.show(lambda width: [tabs_line(head, width)])
        self._line.show(lambda width: [key_line(said, running, hints, changed, width)])

    def _hints(self) -> list[Key]:
        """The keys that matter: those of the lens, then those of the screen that can do something here."""
        return hints_of(self.lens, has_planes=bool(self.place.plane.leading))

    def commands(self) -> list[tuple[Key, Widget]]:
        """Every key that the palette offers, and what has its action."""
        lens = self.lens
        own: list[tuple[Key, Widget]] = [(key, lens) for key in lens.KEYS] if lens is not None else []
        of_screen = [key for key in (*lens_keys(), *keys.TENSOR) if key.id != "tensor.palette"]
        return [*own, *((key, self) for key in of_screen)]

    def on_strip_bar_clicked(self, message: StripBar.Clicked) -> None:
        if message.bar is self._tabs:
            for entry, (_, start, stop) in zip(LENSES, tab_spans(self.head, message.bar.size.width), strict=True):
                if start <= message.x < stop:
                    self.action_lens(entry.slot)

    # The field

    def _ask_for(self, asked: Lens.Asked) -> None:
        self._where.display = False
        self._ask.ask(asked.label, asked.text, asked.check, asked.take, asked.hint)

    def on_ask_bar_judged(self, message: AskBar.Judged) -> None:
        if message.reason != self._reason:
            self._reason = message.reason
            self.update_bars()

    def on_ask_bar_closed(self, message: AskBar.Closed) -> None:
        self._where.display = True
        if self.lens is not None:
            self.lens.focus()

    def action_edit_slice(self) -> None:
        self._ask_for(slice_asked(self.place, self._go))

    def action_go_to_index(self) -> None:
        self._ask_for(index_asked(self.place, self._go))

    # Keys

    def action_back(self) -> None:
        lens = self.lens
        if (lens is not None and lens.back()) or self.writing.stop():
            return
        if self.tolls.withdraw(self.info, is_reading=lens is not None and not lens.is_settled):
            self.notice.say("Stopped; what has come is kept.")
            self._show()
            return
        self._keep()
        if lens is not None:
            lens.hide()
        self.dismiss(None)

    def action_fetch(self) -> None:
        self.notice.say(self.tolls.agree(self.info, self.lens.reach if self.lens is not None else None))
        self._show()

    def action_lens(self, slot: str) -> None:
        self._raise_lens(slot)
        self._show()

    def action_turn_lens(self, step: int) -> None:
        slots = [entry.slot for entry in LENSES]
        self.action_lens(slots[(slots.index(self._up) + step) % len(slots)])

    def action_step_layer(self, step: int) -> None:
        names = same_in_layers(self.info.name, self.subject.names())
        at = names.index(self.info.name) + step if names else -1
        if not 0 <= at < len(names):
            there = "later" if step > 0 else "earlier"
            self.notice.say(f"There is no {there} layer with this tensor." if names else "It is in one layer only.")
            return
        info, before = self.subject.source.find(names[at]), self.place
        lens = self._up
        place = before.carried(info.shape)
        self.info, self.place = info, place
        self.stays.leave(info.name, place, lens)
        self.tolls.want_figures(self.info)
        self._show()
        if info.shape != before.shape:
            words = "the place is as near as there is" if place.index != before.index else "the place is the same"
            self.notice.say(f"It is {text.shape(info.shape)} here, not {text.shape(before.shape)}: {words}.")

    def action_step_plane(self, step: int) -> None:
        if not self.place.plane.leading:
            self.notice.say("There is no other plane: at most two dimensions.")
        else:
            self._go(self.place.stepped(step))

    def action_turn_axis(self, which: str) -> None:
        """Let another axis of the slice run across (or down)."""
        view = self.place.plane
        if not view.leading:
            self.notice.say("There is no other axis: at most two dimensions.")
            return
        rows, columns = view.rows, view.columns
        assert rows is not None
        assert columns is not None
        kept, turned = (rows, columns) if which == "columns" else (columns, rows)
        others = sorted({*view.leading, turned})
        chosen = others[(others.index(turned) + 1) % len(others)]
        self._go(self.place.laid(kept, chosen) if which == "columns" else self.place.laid(chosen, kept))

    def action_transpose(self) -> None:
        view = self.place.plane
        if view.rows is None or view.columns is None:
            self.notice.say("One dimension has nothing to swap.")
        else:
            self._go(self.place.laid(view.columns, view.rows))

    def action_copy_line(self) -> None:
        from tui_params.tui.widgets.detail.detail_lines import summary_line

        words = text.clean(summary_line(self.info, self.subject.figures(self.info.name)))
        self.app.copy_to_clipboard(words)
        self.notice.say(f"Copied the summary: {text.clean(words, max(8, self.size.width - 22))}")

    def action_export(self) -> None:
        """Write the window in sight, the plane, the slice or the tensor to a file."""
        if self.writing.refuse():
            return
        source, info = self.subject.source, self.info
        windows = windows_of(self.place, self.lens.window if self.lens is not None else None)
        choices = [value_choice(source, info, name, window) for name, window in windows.items()]
        self.writing.open(
            source, choices, 0, lambda wish: values_maker(source, info, windows[wish.choice.name], wish.form)
        )

    def on_exported(self, message: Exported) -> None:
        self.writing.take(message)

    def action_help(self) -> None:
        from tui_params.tui.screens.tensor.help import TensorHelp

        entry = next(entry for entry in LENSES if entry.slot == self._up)
        self.app.push_screen(TensorHelp(self.glyphs, entry.title, entry.kind.KEYS, entry.kind.NOTES))
