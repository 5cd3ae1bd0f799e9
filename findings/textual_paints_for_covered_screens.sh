#!/usr/bin/env bash
# textual 8.2.8: what changes on a screen that another one covers wholly is sent to the terminal all the same.
#
# App._background_screens is "screens that may be visible due to background opacity". It takes the screen below the
# current one without a look at the current one's own background, so an opaque screen counts as translucent. Each change
# below then paints that region of the screen above again, byte for byte as it was. tui-params answers with no screens
# where the current one is opaque: 9 kB less, ten times a second, inside a tensor that is read for its figures.
#
# Seen: alpha 1.0, 3 paints for 3 changes below
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet textual==8.2.8
seen=$("$folder/venv/bin/python" - <<'PYTHON'
import asyncio

from textual.app import App
from textual.screen import Screen
from textual.widgets import Static


class Below(App):
    paints = 0

    def compose(self):
        yield Static("below", id="below")

    def _display(self, screen, renderable):
        self.paints += renderable is not None
        super()._display(screen, renderable)


async def main():
    app = Below()
    async with app.run_test() as pilot:
        below = app.query_one("#below", Static)
        await app.push_screen(Screen())
        await pilot.pause(0.5)
        app.paints = 0
        for number in range(3):
            below.update(str(number))
            await pilot.pause(0.5)
        print(f"alpha {float(app.screen.styles.background.a)}, {app.paints} paints for 3 changes below")


asyncio.run(main())
PYTHON
)
echo "$seen"
[[ $seen == "alpha 1.0, 3 paints for 3 changes below" ]] || { echo "changed"; exit 1; }
