"""FrozenMessage: the base of messages whose fields stay as they were made."""

from __future__ import annotations

from dataclasses import FrozenInstanceError

from textual.message import Message


class FrozenMessage(Message):
    """A message whose dataclass fields can be set once.

    ``@dataclass(frozen=True)`` would refuse every write, but Textual writes into each message who sent it and whether
    it goes on. Subclasses are ``@dataclass(eq=False)``, and ``slots=True`` unless they are nested in another class:
    ``slots`` makes the class a second time, and then Textual finds no outer class for the name of the handler. Those
    that are imported before the first paint are ``repr=False``, which takes a third of the time to make them.
    """

    __slots__ = ()

    def __setattr__(self, name: str, value: object) -> None:
        # Without slots, a default stands in the class, and is not yet set in the message.
        is_set = name in vars(self) if hasattr(self, "__dict__") else hasattr(self, name)
        if is_set and name in getattr(type(self), "__dataclass_fields__", ()):
            raise FrozenInstanceError(f"cannot assign to field {name!r}")
        super().__setattr__(name, value)
