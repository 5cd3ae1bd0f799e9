"""A folder of Lightning's ModelParallelStrategy (FSDP2) is the model as torch gathers it: ``just formats``."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from tests.factories_dcp import raw_bytes
from tests.factories_planted import assert_healthy, assert_nan_is_named
from tui_params.sources.detect import open_path

pytestmark = pytest.mark.formats


@pytest.mark.skipif(find_spec("lightning") is None, reason="lightning is not installed")
@pytest.mark.parametrize("ranks", [2, 4])
def test_a_folder_of_two_and_four_ranks(tmp_path: Path, ranks: int) -> None:
    script = Path(__file__).with_name("lightning_ranks.py")
    result = subprocess.run(
        [sys.executable, str(script), str(tmp_path), str(ranks)],
        env=os.environ | {"GLOO_SOCKET_IFNAME": "lo"}, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr[-3000:]
    expected = torch.load(tmp_path / "whole.pt")
    folder = tmp_path / "last.ckpt"
    with open_path(folder) as source:
        for name, tensor in expected.items():
            assert source.read(f"state_dict.{name}").tobytes() == raw_bytes(tensor)
            moment = source.find(f"optimizer_0.state.{name}.exp_avg")
            assert (moment.shape, moment.notes) == (tuple(tensor.shape), (f"state of {name}",))
        assert source.listing.metadata["hyper_parameters.width"] == "7"
        assert f"({ranks} ranks, " in source.listing.format
    assert_healthy(folder)
    assert_nan_is_named(folder, "state_dict.net.1.weight")
