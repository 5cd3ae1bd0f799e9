"""GradientBeside: the gradient that the page of a parameter shows beside it, and what is asked for to do so."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from tui_params.core.tensor import TensorInfo
from tui_params.tui.desk.desk import Desk
from tui_params.tui.widgets.detail.beside import Beside

if TYPE_CHECKING:
    from tui_params.tui.desk.messages import GridReady

_SLOT = "gradient"


class GradientBeside:
    """Finds the figures and the first values of gradients; ``reasons`` says which could not be read."""

    def __init__(self, desk: Desk, reasons: Mapping[str, str]) -> None:
        self._desk = desk
        self._reasons = reasons
        self._asked: object = None
        self._got: tuple[object, tuple[str, ...], str] = (None, (), "")

    @property
    def is_settled(self) -> bool:
        return self._asked == self._got[0]

    def of(self, parameter: TensorInfo, width: int) -> Beside | None:
        """What is known of the gradient of a parameter; None if it has none. Asks for its first values."""
        info = self._desk.opened.source.listing.gradients.get(parameter.name)
        if info is None:
            return None
        reason = self._reasons.get(info.name) or info.unreadable
        key = (self._desk.generation, info.name, width)
        if reason is None and self._asked != key:
            self._asked = key
            self._desk.want_grid(key, info, "", 1, width, _SLOT)
        _, values, window = self._got if self._got[0] == key else (None, (), "")
        return Beside(self._desk.figures(info.name), reason, values, window)

    def take(self, message: GridReady) -> bool:
        """Take the first values of a gradient; False if the message is about something else."""
        if message.key != self._asked:
            return False
        cells = message.grid.cells[:1] if message.grid is not None else ()
        window = message.grid.caption.partition(" of ")[0] if message.grid is not None else ""
        self._got = message.key, tuple(cell.strip() for row in cells for cell in row), window
        return True
