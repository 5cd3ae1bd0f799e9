"""The messages of the desk: frozen, slotted, and still what Textual takes for a message."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, dataclass, fields

import pytest
from textual.app import App
from textual.case import camel_to_snake
from textual.message import Message
from textual.widget import Widget

from tui_params.tui.desk import messages
from tui_params.tui.desk.messages import Checked, CrossChecking, Measured, SourceFailed, Working
from tui_params.tui.screens.explorer.screen import ExplorerScreen
from tui_params.tui.screens.problems import ProblemsScreen
from tui_params.tui.terminal.frozen_message import FrozenMessage

KINDS = [
    kind
    for kind in vars(messages).values()
    if isinstance(kind, type) and issubclass(kind, FrozenMessage) and kind is not FrozenMessage
]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_no_field_of_a_message_can_be_set_twice(kind: type[FrozenMessage]) -> None:
    names = [field.name for field in fields(kind)]  # type: ignore[arg-type]
    message = kind(*names)
    assert not hasattr(message, "__dict__")
    for name in names:
        assert getattr(message, name) == name
        with pytest.raises(FrozenInstanceError, match=name):
            setattr(message, name, "another")
    with pytest.raises(AttributeError):
        message.no_such_field = 1


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_the_main_screen_has_a_handler_for_each(kind: type[FrozenMessage]) -> None:
    assert kind.handler_name == f"on_{camel_to_snake(kind.__name__)}"
    assert hasattr(ExplorerScreen, kind.handler_name)


def test_a_nested_message_keeps_the_name_of_its_handler() -> None:
    assert ProblemsScreen.Grouped.handler_name == "on_problems_screen_grouped"
    assert hasattr(ProblemsScreen, ProblemsScreen.Grouped.handler_name)
    message = ProblemsScreen.Grouped([])
    with pytest.raises(FrozenInstanceError):
        message.groups = []


def test_textual_keeps_its_books_in_a_message() -> None:
    message = SourceFailed("why")
    widget = Widget()
    assert message.set_sender(widget)._sender is widget
    message._set_forwarded()
    assert message.is_forwarded
    message.stop()
    message.prevent_default()
    assert message._stop_propagation
    assert message._no_default_action
    assert message.bubble


def test_only_the_latest_word_on_what_is_being_read_is_kept() -> None:
    assert Working(None, None).can_replace(Working(None, None))
    assert not Working(None, None).can_replace(CrossChecking(1))
    assert not CrossChecking(1).can_replace(Working(None, None))


def test_messages_of_the_same_content_are_not_the_same_message() -> None:
    first, second = CrossChecking(1), CrossChecking(1)
    assert first != second
    assert len({first, second}) == 2


async def test_messages_arrive_and_bubble() -> None:
    arrived: list[Message] = []

    class Parent(App[None]):
        def on_measured(self, message: Measured) -> None:
            arrived.append(message)

        def on_checked(self, message: Checked) -> None:
            arrived.append(message)

    app = Parent()
    async with app.run_test() as pilot:
        app.screen.post_message(Measured(1, ()))
        app.screen.post_message(Checked(1, None))  # type: ignore[arg-type]
        await pilot.pause()
        assert [type(message) for message in arrived] == [Measured, Checked]


def test_a_message_with_a_default_is_frozen_too() -> None:
    @dataclass(slots=True, eq=False)
    class Slotted(FrozenMessage):
        words: str = "nothing"

    @dataclass(eq=False)
    class Plain(FrozenMessage):
        words: str = "nothing"

    for kind in (Slotted, Plain):
        assert kind().words == "nothing"
        assert kind("something").words == "something"
        for message in (kind(), kind("something")):
            with pytest.raises(FrozenInstanceError):
                message.words = "another"
