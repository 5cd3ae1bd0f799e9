#!/usr/bin/env bash
# Textual 8.2.8: a message class that is a frozen dataclass cannot be made.
#
# The documentation of Textual writes messages as dataclasses, and a value that crosses threads is best frozen. But
# Message stores its sender, its time and whether it goes on as attributes of the message: the first of them in a
# __post_init__, which the dataclass calls, the others while the message is handled. `frozen=True` refuses them all.
# A plain dataclass works; freezing has to be done for its own fields only.
#
# Seen: plain: made, posted and handled
#       frozen: FrozenInstanceError: cannot assign to field '_sender'
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet textual==8.2.8
"$folder/venv/bin/python" - <<'PYTHON'
import asyncio
from dataclasses import FrozenInstanceError, dataclass
from importlib.metadata import version

from textual.app import App
from textual.message import Message


class Counter(App):
    @dataclass
    class Counted(Message):
        number: int

    @dataclass(frozen=True)
    class Frozen(Message):
        number: int

    seen = None

    def on_counter_counted(self, message: Counted) -> None:
        self.seen = message.number


async def post() -> int | None:
    app = Counter()
    async with app.run_test() as pilot:
        app.post_message(Counter.Counted(3))
        await pilot.pause()
    return app.seen


print("textual", version("textual"))
assert asyncio.run(post()) == 3
print("plain: made, posted and handled")
try:
    Counter.Frozen(3)
except FrozenInstanceError as error:
    print(f"frozen: FrozenInstanceError: {error}")
else:
    raise SystemExit("changed: a frozen message can be made")
PYTHON
