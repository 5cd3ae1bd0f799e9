"""The first paint: what Textual does three times at the start is done once."""

from __future__ import annotations

import gc
from typing import Any

import pytest
from textual._compositor import Compositor
from textual.css.stylesheet import Stylesheet

from tests.factories_memory import MemorySource
from tests.factories_screen import on_stage, small_model
from tui_params.tui.app import ParamsApp


async def test_the_first_paint_is_one_that_is_shown_and_styles_are_parsed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    apps: list[ParamsApp] = []
    painted: list[int] = []
    reparsed: list[object] = []
    paint, parse, begin = Compositor.render_full_update, Stylesheet.reparse, ParamsApp.__init__

    def init(self: ParamsApp, *arguments: Any, **options: Any) -> None:
        apps.append(self)
        begin(self, *arguments, **options)

    def render_full_update(self: Compositor, *arguments: Any, **options: Any) -> Any:
        painted.append(apps[0]._batch_count)
        return paint(self, *arguments, **options)

    def reparse(self: Stylesheet) -> None:
        reparsed.append(apps[0].screen)
        parse(self)

    monkeypatch.setattr(ParamsApp, "__init__", init)
    monkeypatch.setattr(Compositor, "render_full_update", render_full_update)
    monkeypatch.setattr(Stylesheet, "reparse", reparse)
    async with on_stage(MemorySource(small_model())) as stage:
        assert "embed" in stage.text
        assert painted
        assert not any(painted)
        assert reparsed == []
        assert gc.isenabled()
        stage.app.theme = "quiet-light"
        await stage.rest()
        assert reparsed == [stage.screen]


async def test_the_screen_has_the_classes_of_its_size_from_the_beginning(monkeypatch: pytest.MonkeyPatch) -> None:
    changed: list[object] = []
    update = ParamsApp.update_styles

    def update_styles(self: ParamsApp, node: Any, animate: bool = True) -> None:
        changed.append(node)
        update(self, node, animate=animate)

    monkeypatch.setattr(ParamsApp, "update_styles", update_styles)
    async with on_stage(MemorySource(small_model()), size=(120, 36)) as stage:
        assert stage.screen not in changed
        await stage.pilot.resize_terminal(60, 20)
        await stage.rest()
        assert stage.screen in changed
        assert stage.screen.has_class("-stacked", "-short")
