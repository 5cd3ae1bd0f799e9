"""Checkpoints that the real DeepSpeed wrote on 2 and 3 ranks: the values are those of its own scripts, bit for bit.

Not part of the normal tests: ``just formats``. The Python with deepspeed is this one, or TUI_PARAMS_DEEPSPEED_PYTHON.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.factories_deepspeed import Zero
from tests.factories_planted import assert_nan_is_named
from tests.formats.deepspeed_ranks import CONFIGS, keys
from tui_params.api.comparing import compare
from tui_params.core.health.checker import check
from tui_params.sources.detect import open_path

pytestmark = pytest.mark.formats

PYTHON = os.environ.get("TUI_PARAMS_DEEPSPEED_PYTHON", sys.executable)
SCRIPT = Path(__file__).parent / "deepspeed_ranks.py"
WORLDS = (2, 3)
# "is not a zero checkpoint"; without ZeRO there is nothing to join.
REFUSED = {"bf16-optimizer", "plain"}
# What ds_to_universal of 0.19.8 makes of it is not what was trained: findings/ has the proof.
WRONG = {"zero2-robin"}


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the checkpoints of each number of ranks."""
    found = subprocess.run([PYTHON, "-c", "import deepspeed"], capture_output=True, text=True, check=False)
    if found.returncode:
        pytest.skip(
            f"{PYTHON} has no deepspeed: pip install torch==2.13.0 deepspeed, or TUI_PARAMS_DEEPSPEED_PYTHON=..."
        )
    folder = tmp_path_factory.mktemp("deepspeed")
    for world in WORLDS:
        (folder / str(world)).mkdir()
        command = [PYTHON, str(SCRIPT), str(folder / str(world)), str(world), *CONFIGS]
        result = subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)
        assert result.returncode == 0, result.stderr[-3000:]
    return folder


def raw(tensor: torch.Tensor) -> bytes:
    return bytes(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())


@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("case", [case for case in CONFIGS if case not in REFUSED])
def test_values_are_those_of_zero_to_fp32(written: Path, case: str, world: int) -> None:
    expected = torch.load(written / str(world) / f"{case}.fp32.pt")
    with open_path(written / str(world) / case) as source:
        names = {info.name for info in source.listing.tensors if not info.name.startswith("optimizer.")}
        # The script omits frozen weights of stage 1.
        assert names - set(expected) == ({"frozen"} if "frozen" not in expected else set())
        for name, tensor in expected.items():
            info = source.find(name)
            assert (info.shape, info.dtype.name) == (tuple(tensor.shape), str(tensor.dtype).removeprefix("torch."))
            assert source.read(name).tobytes() == raw(tensor)
            assert b"".join(block.tobytes() for block in source.blocks(info)) == raw(tensor)


@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("case", CONFIGS)
def test_a_healthy_checkpoint_is_ok(written: Path, case: str, world: int) -> None:
    with open_path(written / str(world) / case) as source:
        report = check(source)
        assert [finding for finding in report.findings if finding.severity != "info"] == []
        assert (report.status, report.unchecked) == ("ok", ())
        assert source.listing.metadata["epoch"] == "3"


@pytest.mark.parametrize("case", [case for case in CONFIGS if case != "plain"])
def test_a_nan_is_named(written: Path, tmp_path: Path, case: str) -> None:
    for form in (case, f"{case}.universal"):
        # ds_to_universal refuses elastic checkpoints, and leaves nothing.
        if form == case or (written / "3" / form / "zero" / "l1.weight").exists():
            assert_nan_is_named(Path(shutil.copytree(written / "3" / form, tmp_path / form)), "l1.weight")


def test_a_nan_is_named_without_zero(written: Path, tmp_path: Path) -> None:
    # The model is of 16 bits; the moments are of float32.
    folder = shutil.copytree(written / "2" / "plain", tmp_path / "plain")
    with open_path(folder) as source:
        (name,) = [
            info.name
            for info in source.listing.tensors
            if info.name.endswith(".exp_avg") and info.shape == (9, 5) and info.dtype.name == "float32"
        ]
    assert_nan_is_named(folder, name)


@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("case", [case for case in CONFIGS if "zero3" not in case and case != "plain"])
def test_the_16_bit_copies_are_the_rounding_of_the_values(written: Path, case: str, world: int) -> None:
    (tag,) = (written / str(world) / case).glob("global_step*")
    with open_path(written / str(world) / case) as source, open_path(tag / "mp_rank_00_model_states.pt") as model:
        for name in ("scale", "emb.weight", "l1.weight", "l1.bias", "l2.weight", "l2.bias"):
            copy = model.read(f"module.{name}")
            assert source.read(name).astype(copy.dtype).tobytes() == copy.tobytes()


@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("case", [case for case in CONFIGS if case != "plain"])
def test_a_universal_checkpoint_is_the_same(written: Path, case: str, world: int) -> None:
    universal = written / str(world) / f"{case}.universal"
    if case == "elastic":
        assert not (universal / "zero" / "l1.weight" / "fp32.pt").exists()  # ds_to_universal refuses it
        return
    result = compare(written / str(world) / case, universal)
    alone = {*result.only_in_a, *result.only_in_b}
    # From stage 3 it has no step counters.
    assert {name for name in alone if not name.endswith(".step")} == set()
    assert bool(alone) == ("zero3" in case)
    assert bool(result.changed) == (case in WRONG)
    assert not result.uncompared
    with open_path(universal) as source:
        assert [finding for finding in check(source).findings if finding.severity != "info"] == []


LAYOUTS: dict[str, dict[str, Any]] = {
    "zero1": {"stage": 1},
    "zero2": {"stage": 2},
    "zero2-aligned": {"stage": 2, "alignment": 8},
    "elastic": {"stage": 1, "is_elastic": True},
    "bf16-optimizer": {"stage": 1, "is_bf16_optimizer": True},
    "zero3": {"stage": 3},
}


@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("case", LAYOUTS)
def test_the_fixtures_of_the_other_tests_have_this_layout(written: Path, case: str, world: int) -> None:
    real = json.loads((written / str(world) / f"{case}.json").read_text())
    made = {name: dict(keys(value)) for name, value in Zero(world=world, **LAYOUTS[case]).files.items()}
    assert set(made) == set(real)
    for name, described in made.items():
        own = {key: value for key, value in described.items() if not key.startswith((".ds_config", ".lr_scheduler"))}
        tensors = {key: value for key, value in real[name].items() if value is not None}
        assert {key: value for key, value in own.items() if value is not None} == tensors
        known = {key for key in own if ".param_slice_mappings" not in key}
        assert known - set(real[name]) == set()
