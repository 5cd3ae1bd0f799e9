"""Keys at random in the tensor screen: the place survives every change of lens, and nothing raises.

``TUI_PARAMS_FUZZ_KEYS`` is how many keys are pressed in each sequence (``just fuzz`` presses 20,000 in all).
"""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Callable
from time import monotonic

import ml_dtypes
import numpy as np
import pytest
from textual import events

from tests.factories_memory import MemorySource
from tests.factories_screen import PATIENCE, Arrays, Stage, on_stage, ramp
from tui_params.tui import keys
from tui_params.tui.screens.tensor.lenses import LENSES
from tui_params.tui.screens.tensor.screen import TensorScreen

SEQUENCES = 4
KEYS = int(os.environ.get("TUI_PARAMS_FUZZ_KEYS", "120"))

LENS_KEYS = [*map(str, range(1, len(LENSES) + 1)), "tab", "shift+tab"]
SCREEN_KEYS = ["right_square_bracket", "left_square_bracket", "full_stop", "comma", "x", "X", "t", "y"]
DIALOGS = {"question_mark": ("down",), "w": ("down",), "c": ("tab",), "v": (), "g": ()}
NAMED = {"comma": ",", "colon": ":", "minus": "-", "space": " "}
TYPED = (
    (), ("1",), ("minus", "1"), ("1", "colon", "3", "comma", "colon"), ("0", "comma", "0"), ("7", "colon", "7"), ("x",),
    ("colon", "colon", "minus", "1"), ("1", "comma", "2", "comma", "3", "comma", "4"),
)  # fmt: skip


def arrays() -> Arrays:
    """Tensors of every kind and shape, the first of them in layers of different shapes."""
    numbers = np.random.default_rng(0)
    made: Arrays = {f"layers.{place}.w": ramp(3, 4, 7 + place, 30) - 100 for place in range(3)}
    made["layers.1.w"][0, 0, 2, 2] = np.nan
    made["matrix"] = (numbers.normal(size=(90, 200)) * 0.02).astype(ml_dtypes.bfloat16)
    made["vector"] = ramp(1000).astype(np.float16)
    made["row"] = ramp(1, 500)
    made["scalar"] = np.array(3)
    made["empty"] = ramp(3, 0, 2)
    made["deep"] = ramp(*(2,) * 12)
    made["complex"] = np.ones((5, 6), np.complex64)
    made["mask"] = numbers.normal(size=(20, 30)) > 0
    made["packed"] = numbers.normal(size=(8, 16)).astype(ml_dtypes.float4_e2m1fn)
    made["nan"] = np.full((4, 40), np.nan, np.float32)
    made["broken"] = ramp(4, 4)
    return made


def top(stage: Stage) -> TensorScreen:
    screen = stage.app.screen
    assert isinstance(screen, TensorScreen), type(screen)
    return screen


async def tap(stage: Stage, *pressed: str) -> None:
    """Press keys, each when the one before is done; not every one is painted, as when somebody types fast."""
    driver = stage.app._driver
    assert driver is not None
    for key in pressed:
        event = events.Key(key, key if len(key) == 1 else NAMED.get(key))
        event.set_sender(stage.app)
        driver.send_message(event)
        quiet, give_up = 0, monotonic() + PATIENCE
        while quiet < 4:
            assert monotonic() < give_up, f"{key} is held for ever"
            stage.raise_what_ended_it()
            await asyncio.sleep(0)
            screen = stage.app.screen
            is_busy = stage.app.is_holding_keys or stage.app.message_queue_size or screen.message_queue_size
            quiet = 0 if is_busy else quiet + 1


async def leave(stage: Stage, is_left: Callable[[], bool]) -> None:
    """Press escape until it is left: each ends one thing, of which a search, a field and a dialog can be open."""
    for _ in range(8):
        if is_left():
            return
        await tap(stage, "escape")
    assert is_left(), stage.text


async def press(stage: Stage, draw: random.Random) -> str:
    """One thing that a user does; every dialog is closed again."""
    lens = top(stage).lens
    assert lens is not None
    own = [key.keys.split(",")[0] for key in lens.KEYS]
    choice = draw.random()
    if choice < 0.2:
        key = draw.choice(LENS_KEYS)
        await stage.until(lambda: lens.is_settled, "a search ends")  # it may move when it has found
        before = top(stage).place
        await tap(stage, key)
        assert top(stage).place == before, f"{key} has moved the place"
        return key
    if choice < 0.45:
        key = draw.choice(SCREEN_KEYS)
    elif choice < 0.5:
        key = draw.choice(list(DIALOGS))
    elif choice < 0.55:
        key = draw.choice(("v", "g"))
        await tap(stage, key)
        await tap(stage, *draw.choice(TYPED))
        key = "enter"
    else:
        key = draw.choice(own)
    await tap(stage, key)
    if not isinstance(stage.app.screen, TensorScreen):
        await tap(stage, *DIALOGS.get(key, ()))
    await leave(stage, lambda: isinstance(stage.app.screen, TensorScreen) and not top(stage)._ask.display)
    return key


@pytest.mark.parametrize("seed", range(SEQUENCES))
async def test_the_place_survives_random_keys(seed: int) -> None:
    draw = random.Random(seed)
    source = MemorySource(arrays(), broken={"broken": "shard 2 is missing"})
    pressed: list[str] = []
    async with on_stage(source, size=draw.choice([(80, 24), (120, 36), (60, 20), (40, 12)])) as stage:
        names = list(source.arrays)
        count = 0
        while count < KEYS:
            await stage.go(draw.choice(names))
            await tap(stage, "enter")
            for _ in range(draw.randrange(20, 60)):
                pressed.append(await press(stage, draw))
                count += 1
                screen = top(stage)
                place, index = screen.place, screen.place.index
                said = f"after {pressed[-12:]} in {screen.info.name}"
                assert place.shape == screen.info.shape, said
                assert index is None or all(0 <= at < size for at, size in zip(index, place.shape, strict=True)), said
                assert screen.lens is not None, said
                assert screen.lens.seen is not None, said
                assert screen.lens.seen.place == place, said
            await stage.until(lambda: top(stage).is_settled, f"it rests after {pressed[-12:]}")
            await stage.rest()
            index = top(stage).place.index
            begins = "no elements" if index is None else f" [{', '.join(map(str, index[:1]))}"
            assert begins in stage.lines[1], pressed[-12:]
            await leave(stage, lambda: not isinstance(stage.app.screen, TensorScreen))
    assert set(keys.IDS) >= {key.id for key in keys.TENSOR}
