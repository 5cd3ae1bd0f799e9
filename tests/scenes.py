"""The screens of the explorer by name: each is a snapshot test, and a picture in ``screenshots/``.

A scene opens something, presses keys, and waits until everything that was asked for has arrived; so it shows the same
on every machine. ``python -m tests.scenes screenshots/`` draws all of them, ``... NAME`` some.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import NamedTuple

from textual.pilot import Pilot

from tui_params.core.source import Source
from tui_params.demo import make_demo
from tui_params.opening import open_source
from tui_params.tui.app import ParamsApp
from tui_params.tui.glyphs import ASCII, UNICODE, Glyphs
from tui_params.tui.opening import Opening
from tui_params.tui.screens.explorer import ExplorerScreen
from tui_params.tui.settings import Settings

Steps = Callable[[Pilot[None]], Awaitable[None]]


class Scene(NamedTuple):
    """One picture: what is opened, at which size, and what is pressed."""

    name: str
    size: tuple[int, int]
    open_it: Callable[[], Source]
    keys: tuple[str, ...]
    theme: str = "quiet-dark"
    glyphs: Glyphs = UNICODE


def demo() -> Source:
    return open_source(make_demo())


def app_of(open_it: Callable[[], Source], theme: str = "quiet-dark", glyphs: Glyphs = UNICODE) -> ParamsApp:
    """The app on a source, with fixed settings: no file of the user is read."""
    return ParamsApp(Opening("demo", open_it), settings=Settings(theme=theme), glyphs=glyphs)


async def settle(pilot: Pilot[None]) -> None:
    """Wait until nothing is being opened, read, drawn or waited for."""
    for _ in range(2000):
        await pilot.pause()
        screen = pilot.app.screen
        if not isinstance(screen, ExplorerScreen) or screen.is_settled:
            await pilot.pause()
            if not isinstance(screen, ExplorerScreen) or screen.is_settled:
                return
        await asyncio.sleep(0.005)
    raise AssertionError("the explorer does not come to rest")


async def play(pilot: Pilot[None], *keys: str) -> None:
    """Press keys one by one, and settle."""
    await settle(pilot)
    for key in keys:
        await pilot.press(key)
        await pilot.pause()
    await settle(pilot)


def typed(words: str) -> tuple[str, ...]:
    """The key names of a text."""
    names = {
        " ": "space", "/": "slash", ":": "colon", ".": "full_stop", "*": "asterisk", ">": "greater_than_sign",
        "<": "less_than_sign", "[": "left_square_bracket", "]": "right_square_bracket", ",": "comma",
        "-": "minus", "_": "underscore", "!": "exclamation_mark",
    }  # fmt: skip
    return tuple(names.get(letter, letter) for letter in words)


WEIGHT = (*("down",) * 2, "right", "right", "right")

SCENES: tuple[Scene, ...] = (
    Scene("explorer", (120, 36), demo, ("n", "n")),
    Scene("explorer-80x24", (80, 24), demo, ("n", "n")),
)


async def draw(scene: Scene) -> str:
    """The scene as an SVG."""
    app = app_of(scene.open_it, scene.theme, scene.glyphs)
    async with app.run_test(size=scene.size) as pilot:
        await play(pilot, *scene.keys)
        return app.export_screenshot(title="tui-params", simplify=True)


def main(arguments: list[str]) -> int:
    folder = Path(arguments[0] if arguments else "screenshots")
    for scene in SCENES:
        if len(arguments) < 2 or scene.name in arguments[1:]:
            (folder / f"{scene.name}.svg").write_text(asyncio.run(draw(scene)), encoding="utf-8")
            print(folder / f"{scene.name}.svg")
    return 0


if __name__ == "__main__":
    os.environ.setdefault("COLORTERM", "truecolor")
    tempfile.gettempdir()
    sys.exit(main(sys.argv[1:]))
