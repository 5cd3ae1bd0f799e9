"""``--logical``: packed weights as what they mean, before the command or behind it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import save_file

from tests.core.packed.test_layouts import gptq


@pytest.fixture
def checkpoint(tmp_path: Path) -> tuple[Path, Any]:
    """A folder with one GPTQ weight, and the weight."""
    tensors, weight = gptq(4, is_v2=False)
    folder = tmp_path / "model"
    folder.mkdir()
    save_file({name: np.ascontiguousarray(value) for name, value in tensors.items()}, folder / "model.safetensors")
    config = {"model_type": "llama", "quantization_config": {"quant_method": "gptq", "bits": 4}}
    (folder / "config.json").write_text(json.dumps(config))
    return folder, weight


@pytest.mark.parametrize("before", [True, False])
def test_a_packed_weight_is_listed_as_one(checkpoint: tuple[Path, Any], cli: Callable[..., Any], before: bool) -> None:
    folder, weight = checkpoint
    ran = cli("--logical", "ls", str(folder), "--json") if before else cli("ls", "--logical", str(folder), "--json")
    (entry,) = json.loads(ran.out)["tensors"]
    assert (entry["name"], entry["shape"], entry["dtype"]) == ("fc.weight", list(weight.shape), "f16")
    assert entry["notes"] == [
        "packed: GPTQ int4",
        "5.12 bits a weight, groups of 32",
        "stored as qweight, qzeros, scales, g_idx",
    ]
    assert [t["name"] for t in json.loads(cli("ls", str(folder), "--json").out)["tensors"]] == [
        "fc.g_idx",
        "fc.qweight",
        "fc.qzeros",
        "fc.scales",
    ]


def test_stored_weights_are_said_to_be_packed(checkpoint: tuple[Path, Any], cli: Callable[..., Any]) -> None:
    hint = "packed weights, listed as they are stored: --logical shows what they stand for"
    for options, is_said in ((("ls",), True), (("ls", "--kinds"), True), (("ls", "--logical"), False)):
        assert (hint in cli(*options, str(checkpoint[0])).out) == is_said


def test_values_are_those_that_the_weight_has(checkpoint: tuple[Path, Any], cli: Callable[..., Any]) -> None:
    folder, weight = checkpoint
    ran = cli("values", str(folder), "fc.weight", "1, :3", "--json", "--logical")
    assert json.loads(ran.out)["values"] == weight[1, :3].astype(float).tolist()


def test_a_packed_model_is_compared_with_its_original(
    checkpoint: tuple[Path, Any], cli: Callable[..., Any], tmp_path: Path
) -> None:
    folder, weight = checkpoint
    save_file({"fc.weight": np.ascontiguousarray(weight)}, tmp_path / "whole.safetensors")
    whole = str(tmp_path / "whole.safetensors")
    assert cli("diff", whole, str(folder), "--logical").code == 0
    other = weight.copy()
    other[2, 3] += 1
    save_file({"fc.weight": np.ascontiguousarray(other)}, tmp_path / "other.safetensors")
    ran = cli("diff", str(tmp_path / "other.safetensors"), str(folder), "--logical", "--json")
    (changed,) = json.loads(ran.out)["changed"]
    assert (ran.code, changed["max_abs"]) == (1, pytest.approx(1.0, rel=2e-3))
    noise = np.linalg.norm(weight.astype(float) - other) / np.linalg.norm(other.astype(float))
    assert changed["snr_db"] == pytest.approx(-20 * np.log10(noise))
    said = f"SNR {changed['snr_db']:.1f} dB, first at [2, 3]"
    hint = "B has packed weights, compared as they are stored: --logical compares what they stand for"
    found = cli("diff", str(tmp_path / "other.safetensors"), str(folder), "--logical").out
    assert (said in found, hint in found) == (True, False)
    assert hint in cli("diff", whole, str(folder)).out
    # Two sources without packed weights differ by their relative change alone.
    assert "SNR" not in cli("diff", whole, str(tmp_path / "other.safetensors")).out


@pytest.mark.parametrize("scale", ["weight_scale", "weight_scale_inv", "SCB"])
@pytest.mark.parametrize("dtype", [np.int8, ml_dtypes.float8_e4m3fn])
def test_codes_of_a_byte_are_said_to_be_compared_without_their_scales(
    cli: Callable[..., Any], tmp_path: Path, scale: str, dtype: Any
) -> None:
    weight = np.ones((4, 4), np.float32)
    original, packed, other = (str(tmp_path / f"{name}.safetensors") for name in "abc")
    save_file({"fc.weight": weight}, original)
    save_file({"fc.weight": weight.astype(dtype), f"fc.{scale}": np.ones(4, np.float32)}, packed)
    save_file({"fc.weight": weight.astype(dtype), "more.weight": weight}, other)
    hint = "B has packed weights, compared as they are stored: --logical compares what they stand for"
    assert hint in cli("diff", original, packed).out
    assert hint not in cli("diff", original, other).out


def test_weights_that_are_not_told_are_said_to_be_checked_as_codes(
    checkpoint: tuple[Path, Any], cli: Callable[..., Any]
) -> None:
    folder, _ = checkpoint
    told, _ = gptq(4, is_v2=False)
    untold = {name.replace("fc", "odd"): value for name, value in told.items()}
    untold["odd.qzeros"] = untold["odd.qzeros"].astype(np.int64)
    tensors = {name: np.ascontiguousarray(value) for name, value in (told | untold).items()}
    save_file(tensors, folder / "model.safetensors")
    said = "5 tensors checked (1 of them as stored codes, which could not be restored), "
    for options, count in ((("--logical",), 1), ((), 0)):
        assert (said in cli("check", str(folder), *options).out) == bool(count)
        assert json.loads(cli("check", str(folder), "--json", *options).out)["as_codes"] == count


def test_the_config_is_not_said_to_contradict_the_restored_weights(
    checkpoint: tuple[Path, Any], cli: Callable[..., Any]
) -> None:
    folder, _ = checkpoint
    rules = {f["rule"] for f in json.loads(cli("check", str(folder), "--logical", "--json").out)["findings"]}
    assert "unlike-config" not in rules
