"""Lens: one way of seeing a tensor. A subclass is one file here, and one line in ``screens/tensor/lenses.py``."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Hashable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec
from textual.message import Message

from tui_params.core.tensor import TensorInfo
from tui_params.tui.desk.tensor_desk import Answer, TensorDesk
from tui_params.tui.state.place import Place
from tui_params.tui.terminal.glyphs import Glyphs
from tui_params.tui.terminal.line import Line
from tui_params.tui.widgets.canvas import Canvas

if TYPE_CHECKING:
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


class Lens(Canvas, can_focus=True):
    """A widget over a tensor. It asks the desk, in slots whose names begin with its own ``slot``, and paints answers.

    The screen calls ``show`` when the lens comes up and whenever tensor, place, version or figures are others,
    ``take`` with each answer in one of its slots, and ``hide`` when another lens comes up.
    """

    slot: str
    """The name of the lens in slots and settings, such as ``heat``."""

    class Moved(Message):
        """The user went to another place in the lens."""

        def __init__(self, place: Place) -> None:
            super().__init__()
            self.place = place

    @dataclass(eq=False)
    class Told(Message):
        """A short sentence for the status line."""

        words: str

    @dataclass(eq=False)
    class Restated(Message):
        """``state`` of the lens is another one: the header is to be painted again."""

    def __init__(self, glyphs: Glyphs, desk: TensorDesk) -> None:
        super().__init__(id=f"lens-{self.slot}")
        self.glyphs = glyphs
        self.desk = desk
        self.seen: Seen | None = None

    @abstractmethod
    def show(self, seen: Seen) -> None:
        """Show this; ask for what is missing. Must return at once."""

    @abstractmethod
    def take(self, answer: Answer) -> None:
        """Take an answer; one whose key is not the awaited one is dropped."""

    def hide(self) -> None:
        """Another lens comes up: take back what is being read for this one, unless it is soon done."""

    @property
    def state(self) -> Line:
        """What the lens shows and how, in a few words for the header: ``mean of 32x32 blocks, sampled``."""
        return []
