"""Stays: where one was in each tensor that was looked into, and through which lens."""

from __future__ import annotations

from tui_params.core.tensor import TensorInfo
from tui_params.tui.state.place import Place, first_place


class Stays:
    """Remembered as long as the explorer runs; ``lens`` is the slot of the last one, with which others open."""

    def __init__(self, lens: str) -> None:
        self.lens = lens
        self._places: dict[str, Place] = {}
        self._lenses: dict[str, str] = {}

    def leave(self, name: str, place: Place, lens: str) -> None:
        """Remember the place in a tensor."""
        self.lens = lens
        self._places[name], self._lenses[name] = place, lens

    def place(self, info: TensorInfo) -> Place:
        """Where one was in a tensor; its first element, if that is not known or its shape was another one."""
        place = self._places.get(info.name)
        return place if place is not None and place.shape == info.shape else first_place(info.shape)

    def lens_of(self, name: str) -> str:
        """The slot of the lens through which a tensor was seen last, or else any tensor was."""
        return self._lenses.get(name, self.lens)
