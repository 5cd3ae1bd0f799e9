"""What ``ls --kinds`` knows of the values without reading one: what the explorer has kept."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tui_params.api.opening import open_source
from tui_params.cache import figures as cache
from tui_params.core.reading.tensor_reading import summarize


def test_kinds_have_the_figures_that_are_kept_and_no_others(
    tmp_path: Path, cli: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from safetensors.numpy import save_file

    monkeypatch.setenv(cache.ENVIRONMENT, str(tmp_path / "cache"))
    monkeypatch.setattr(cache, "MIN_FILE_BYTES", 1)
    monkeypatch.setattr(cache, "SETTLED_NS", -(10**15))
    path = tmp_path / "x.safetensors"
    arrays = {f"h.{at}.w": np.array([0, 2 * (at + 1)], np.float32) for at in range(4)}
    save_file({**arrays, "h.3.w": np.array([1, np.nan], np.float32), "b": np.ones(2, np.float32)}, path)
    assert [kind["figures"] for kind in cli("ls", str(path), "--kinds", "--json").json()["kinds"]] == [None, None]
    assert "std" not in cli("ls", str(path), "--kinds").out
    with open_source(path) as source:
        kept = cache.FigureCache().for_source(source)
        assert kept is not None
        for name in ("h.0.w", "h.1.w", "h.3.w"):
            info = source.find(name)
            kept.put(info, summarize(source, info).figures(info.numel), None)
        kept.flush(is_last=True)
    found = {kind["kind"]: kind["figures"] for kind in cli("ls", str(path), "--kinds", "--json").json()["kinds"]}
    assert found["b"] is None
    assert found["h.#.w"] == {
        "known": 3,
        "nan": 1,
        "inf": 0,
        "std": {"least": 0.0, "median": 1.0, "greatest": 2.0},
        "abs_max": {"least": 1.0, "median": 2.0, "greatest": 4.0},
    }
    assert "# 0-3; std 0 to 2, NaN in 1, 3 of 4 known" in cli("ls", str(path), "--kinds").out
    path.write_bytes(path.read_bytes()[:-4] + b"1234")  # other values: what is kept is of the file before
    assert "std" not in cli("ls", str(path), "--kinds").out
