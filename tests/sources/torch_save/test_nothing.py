"""Lists in which most items are None: one line of metadata, in files and in memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from tui_params.api.opening import open_source
from tui_params.core.source import Source


def opened(path: Path, value: dict[str, Any], is_live: bool) -> Source:
    if is_live:
        return open_source(value)
    torch.save(value, path)
    return open_source(str(path))


def lbfgs() -> dict[str, Any]:
    weight = torch.nn.Parameter(torch.arange(16.0).reshape(4, 4))
    optimizer = torch.optim.LBFGS([weight], max_iter=4, history_size=100)

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss: torch.Tensor = (weight**4).sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    return {"optimizer": optimizer.state_dict()}


@pytest.mark.parametrize("is_live", [False, True])
def test_the_history_of_lbfgs(tmp_path: Path, is_live: bool) -> None:
    state = lbfgs()
    filled = sum(item is not None for item in state["optimizer"]["state"][0]["al"])
    assert 0 < filled < 90
    with opened(tmp_path / "x.pt", state, is_live) as source:
        entries = {name: text for name, text in source.listing.metadata.items() if ".al" in name}
        assert entries == {"optimizer.state.0.al": f"{100 - filled} of 100 items are None"}
        assert sum(".al." in info.name for info in source.listing.tensors) == filled


@pytest.mark.parametrize("is_live", [False, True])
def test_other_lists_with_nothing_in_them(tmp_path: Path, is_live: bool) -> None:
    one = torch.ones(2)
    value = {
        "tuple": (None, one, None, None, None, 7),
        "few": [None, one, None, None],
        "deep": [[None] * 10 + [one], one],
        "flat": [None] * 5,
        "dict": {"a": None, "b": one, "c": None, "d": None, "e": None},
    }
    with opened(tmp_path / "x.pt", value, is_live) as source:
        metadata = source.listing.metadata
        assert metadata["tuple"] == "4 of 6 items are None"
        assert metadata["tuple.5"] == "7"
        assert metadata["deep.0"] == "10 of 11 items are None"
        assert [name for name in metadata if name.startswith("few")] == ["few.0", "few.2", "few.3"]
        assert metadata["flat"] == "[None, None, None, None, None]"
        # The keys of a dict say something.
        assert [name for name in metadata if name.startswith("dict")] == ["dict.a", "dict.c", "dict.d", "dict.e"]
        assert [info.name for info in source.listing.tensors] == ["tuple.1", "few.1", "deep.0.10", "deep.1", "dict.b"]
