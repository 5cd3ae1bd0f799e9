"""The training of ``demo --live`` learns until the fault, which is where the demo says it is."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.live.attached.conftest import runtime
from tui_params import demo_training
from tui_params.demo_training import FAULTY, FAULTY_ROW, Training
from tui_params.live.attached.finding import find_serving

__all__ = ["runtime"]


def test_it_learns_and_breaks_where_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo_training, "FAULT_STEP", 12)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    state = torch.random.get_rng_state()
    try:
        training = Training("abcd efgh " * 200)
        losses = [training.step() for _ in range(12)]
        assert losses[-1] < losses[0]
        broken = {
            name: torch.isnan(parameter).nonzero()[:, 0].unique().tolist()
            for name, parameter in training.model.named_parameters()
            if torch.isnan(parameter).any()
        }
        assert broken == {FAULTY: [FAULTY_ROW]}
        training.step()
        assert all(torch.isnan(parameter).any() for parameter in training.model.parameters())
    finally:
        torch.set_num_threads(threads)
        torch.random.set_rng_state(state)


def test_the_live_demo_is_served_listed_and_ends(cli: Callable[..., Any], runtime: Path) -> None:
    # Without a terminal the tensors are listed, and the training ends with it.
    ran = cli("demo", "--live")
    assert (ran.code, ran.err) == (0, "")
    assert "blocks.0.qkv.weight" in ran.out
    assert find_serving() == []
    for socket in (runtime / "tui-params").iterdir():
        with pytest.raises(ProcessLookupError):
            os.kill(int(socket.stem), signal.SIG_DFL)
