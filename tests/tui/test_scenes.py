"""Every scene looks as it did: ``just snapshots`` takes a new look after an intended change."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from textual.pilot import Pilot

from tests.scenes import SCENES, Scene, app_of_scene, play_scene


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.name)
def test_scene(scene: Scene, snap_compare: Callable[..., bool]) -> None:
    async def steps(pilot: Pilot[None]) -> None:
        await play_scene(pilot, scene)

    app = app_of_scene(scene)
    assert snap_compare(app, terminal_size=scene.size, run_before=steps)
