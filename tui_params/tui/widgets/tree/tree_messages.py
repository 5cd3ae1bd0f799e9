"""What the tree says: its messages."""

from __future__ import annotations

from time import monotonic

from textual.message import Message


class Moved(Message, namespace="module_tree"):
    """The cursor is now on another node (or on none), since that time of ``monotonic``."""

    def __init__(self, node: int | None) -> None:
        super().__init__()
        self.node = node
        self.at = monotonic()


class Exposed(Message, namespace="module_tree"):
    """The rows on screen have changed."""

    def can_replace(self, message: Message) -> bool:
        return isinstance(message, Exposed)


class Entered(Message, namespace="module_tree"):
    """Enter was pressed on a tensor."""


class HeadingClicked(Message, namespace="module_tree"):
    """A heading was clicked: that of a column, or ``name``; ``is_menu``: with the right button."""

    def __init__(self, column: str, *, is_menu: bool) -> None:
        super().__init__()
        self.column = column
        self.is_menu = is_menu


class Refused(Message, namespace="module_tree"):
    """A key did nothing here; ``why`` is a short sentence."""

    def __init__(self, why: str) -> None:
        super().__init__()
        self.why = why
