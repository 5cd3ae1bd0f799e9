"""Lens: one way of seeing a tensor. A subclass is one file here, and one line in ``screens/tensor/lenses.py``."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import msgspec
from textual.geometry import Region
from textual.message import Message
from textual.strip import Strip

from tui_params.core.tensor import TensorInfo
from tui_params.core.window import Window
from tui_params.tui.desk.tensor_desk import Answer, TensorDesk
from tui_params.tui.keys import Key
from tui_params.tui.state.place import Place
from tui_params.tui.terminal.glyphs import Glyphs
from tui_params.tui.terminal.line import Line
from tui_params.tui.widgets.canvas import Canvas, differences

if TYPE_CHECKING:
    from tui_params.core.export.snippets import Snippet
    from tui_params.core.figures import Figures


class Seen(msgspec.Struct, frozen=True):
    """What a lens shows: a tensor, the place in it, and its exact figures if they are known by now.

    ``version`` is another one whenever the values may have changed; results that a lens keeps belong to one name and
    version.
    """

    info: TensorInfo
    place: Place
    version: Hashable
    figures: Figures | None = None


class CopyChoice(msgspec.Struct, frozen=True, eq=False):
    """One thing that can be copied: its letter, its name, what it is now, and ``copy``, which gets the chosen form."""

    letter: str
    name: str
    about: str
    copy: Callable[[Snippet], object]


class Lens(Canvas, can_focus=True):
    """A widget over a tensor. It asks the desk, in slots whose names begin with its own ``slot``, and paints answers.

    The screen calls ``show`` when the lens comes up and whenever tensor, place, version or figures are others,
    ``take`` with each answer in one of its slots, and ``hide`` when another lens comes up.
    """

    slot: ClassVar[str]
    """The name of the lens in slots and settings, such as ``heat``."""

    KEYS: ClassVar[tuple[Key, ...]] = ()
    """The keys of the lens, for the help and the line below; ``BINDINGS`` are made of them (``keys.bindings``).

    Their ids begin with the slot and a dot. The keys of ``keys.TENSOR`` and the digits are taken.
    """

    HINTS: ClassVar[tuple[str, ...]] = ()
    """The ids of the keys that the line below names, the most important first."""

    NOTES: ClassVar[tuple[tuple[str, str], ...]] = ()
    """What is shown, for the help: names, and what they mean, with formula and source."""

    @dataclass(eq=False)
    class Copied(Message):
        """This goes to the clipboard of the terminal; ``words`` say what it is."""

        text: str
        words: str

    class Moved(Message):
        """The user went to another place in the lens; with ``lens``, the slot of another one, that comes up there."""

        def __init__(self, place: Place, lens: str | None = None) -> None:
            super().__init__()
            self.place = place
            self.lens = lens

    @dataclass(eq=False)
    class Told(Message):
        """A short sentence for the status line."""

        words: str

    @dataclass(eq=False)
    class Restated(Message):
        """``state`` of the lens is another one: the header is to be painted again."""

    @dataclass(eq=False)
    class Asked(Message):
        """The user is to type something: ``check`` says why a text cannot be, or None, and ``take`` gets it.

        An empty text is not checked. ``hint`` is what an empty field says.
        """

        label: str
        text: str
        check: Callable[[str], str | None]
        take: Callable[[str], object]
        hint: str = ""

    @dataclass(eq=False)
    class Copies(Message):
        """What can be copied of what is shown: the user chooses one, and in which form."""

        choices: tuple[CopyChoice, ...]

    def __init__(self, glyphs: Glyphs, desk: TensorDesk) -> None:
        super().__init__(id=f"lens-{self.slot}")
        self.glyphs = glyphs
        self.desk = desk
        self.seen: Seen | None = None
        self._lines: list[Line] = []

    @abstractmethod
    def show(self, seen: Seen) -> None:
        """Show this; ask for what is missing. Must return at once."""

    @abstractmethod
    def take(self, answer: Answer) -> None:
        """Take an answer; one whose key is not the awaited one is dropped."""

    def hide(self) -> None:
        """Another lens comes up: take back what is being read for this one, unless it is soon done."""

    def back(self) -> bool:
        """Whether the key for going back had something to end in the lens itself: a search that is running."""
        return False

    @property
    def is_settled(self) -> bool:
        """Whether everything that was asked for is shown; for tests and pictures."""
        return True

    @property
    def state(self) -> Line:
        """What the lens shows and how, in a few words for the header: ``mean of 32x32 blocks, sampled``."""
        return []

    @property
    def window(self) -> Window | None:
        """The elements that are in sight, for writing them to a file; None where the lens shows no single elements."""
        return None

    @property
    def reach(self) -> int | None:
        """The elements that it has to read of the tensor, at most; None: all."""
        return None

    @property
    def has_room(self) -> bool:
        """Whether there is a cell to paint: not before the first layout, which a key may come before."""
        return self.size.height > 0 and self.size.width > 0

    def set_lines(self, lines: Sequence[Line]) -> None:
        """Show these lines from the top; only the cells that differ from those before are painted."""
        before, self._lines = self._lines, list(lines)
        width, changed = self.size.width, []
        for y in range(self.size.height):
            old, new = (some[y] if y < len(some) else [] for some in (before, self._lines))
            runs = differences(old, new)
            cut = [(start, min(stop, width)) for start, stop in runs if start < width]
            changed += [Region(start, y, stop - start, 1) for start, stop in cut]
        if changed:
            self.refresh(*changed)

    def plain(self) -> str:
        """What is shown, without styles, for tests."""
        return "\n".join("".join(text for text, _ in line).rstrip() for line in self._lines)

    def render_line(self, y: int) -> Strip:
        return self.paint(self._lines[y] if y < len(self._lines) else [], self.size.width)
