"""Packed weights of one pattern, block scales that are NaN, and groups that have no scales."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.factories_memory import MemorySource
from tui_params.core.findings import Finding
from tui_params.core.health.checker import check

Arrays = dict[str, NDArray[Any]]
_RULES = {"packed-zero", "packed-constant", "block-scale", "group-index"}


def told(arrays: Arrays) -> list[Finding]:
    return [f for f in check(MemorySource(arrays)).findings if f.rule in _RULES]


def said(arrays: Arrays) -> list[tuple[str, str, str]]:
    return [(finding.severity, finding.rule, finding.tensor or "") for finding in told(arrays)]


def words(word: int, *shape: int) -> NDArray[Any]:
    return np.full(shape, word, np.uint32).view(np.int32)


def drawn(*shape: int) -> NDArray[Any]:
    return np.random.default_rng(0).integers(-(2**31), 2**31, shape).astype(np.int32)


def scales(*shape: int) -> NDArray[Any]:
    return np.random.default_rng(1).random(shape).astype(np.float16) + np.float16(0.1)


def gptq(weight: NDArray[Any], zero: int, bits: int = 4) -> Arrays:
    """A layer of 64 inputs and 16 outputs in 2 groups: the codes are packed along the inputs."""
    zeros = words(zero, 2, 16 * bits // 32)
    order = (np.arange(64) // 32).astype(np.int32)
    return {"l.qweight": weight, "l.qzeros": zeros, "l.scales": scales(2, 16), "l.g_idx": order}


def awq(weight: NDArray[Any], zero: int) -> Arrays:
    """The same layer as AWQ packs it: along the outputs."""
    return {"l.qweight": weight, "l.qzeros": words(zero, 2, 2), "l.scales": scales(2, 16)}


@pytest.mark.parametrize(
    ("bits", "zero", "word", "code"),
    [
        (4, 0x77777777, 0x88888888, 8),
        (4, 0x88888888, 0x88888888, 8),
        (4, 0x33333333, 0x44444444, 4),
        (4, 0x33333333, 0x33333333, 3),
        (4, 0xFFFFFFFF, 0x00000000, 0),
        (8, 0x7F7F7F7F, 0x80808080, 128),
        (8, 0x40404040, 0x41414141, 65),
        (2, 0x55555555, 0xAAAAAAAA, 2),
    ],
)
def test_gptq_of_nothing_but_its_zero_point(bits: int, zero: int, word: int, code: int) -> None:
    rows = 64 * bits // 32
    assert told(gptq(drawn(rows, 16), zero, bits)) == []
    (finding,) = told(gptq(words(word, rows, 16), zero, bits))
    assert (finding.severity, finding.rule, finding.tensor) == ("error", "packed-zero", "l.qweight")
    assert finding.evidence == (
        f"every word is {word:#010x}: all 1,024 values are zero once unpacked (zero point {code})"
    )


@pytest.mark.parametrize(
    ("zero", "word"), [(0x55555555, 0x88888888), (0x88888888, 0x77777777), (0x55555555, 0xAAAAAAAA)]
)
def test_gptq_of_one_other_number(zero: int, word: int) -> None:
    (finding,) = told(gptq(words(word, 8, 16), zero))
    assert (finding.severity, finding.rule, finding.tensor) == ("warning", "packed-constant", "l.qweight")
    assert finding.evidence == (
        f"each of its 128 words is {word:#010x}, so that all values of a block are the same, or repeat"
    )


def test_awq_packs_zero_points_as_they_are() -> None:
    assert told(awq(drawn(64, 2), 0x33333333)) == []
    assert said(awq(words(0x33333333, 64, 2), 0x33333333)) == [("error", "packed-zero", "l.qweight")]
    assert said(awq(words(0x36193619, 64, 2), 0x36193619)) == [("error", "packed-zero", "l.qweight")]
    assert said(awq(words(0x44444444, 64, 2), 0x33333333)) == [("warning", "packed-constant", "l.qweight")]


def test_zero_points_that_differ_make_other_numbers() -> None:
    arrays = gptq(words(0x88888888, 8, 16), 0x77777777)
    arrays["l.qzeros"][0, 0] = 5
    assert said(arrays) == [("warning", "packed-constant", "l.qweight")]


def test_symmetric_packing_has_no_zero_points() -> None:
    packed = {"fc.weight_scale": scales(4, 4)}
    assert said({**packed, "fc.weight_packed": words(0x88888888, 4, 4)}) == [
        ("error", "packed-zero", "fc.weight_packed")
    ]
    assert said({**packed, "fc.weight_packed": drawn(4, 4)}) == []
    zeros = {**packed, "fc.weight_packed": words(0x55555555, 4, 4), "fc.weight_zero_point": words(0x55555555, 1, 4)}
    assert said(zeros) == [("error", "packed-zero", "fc.weight_packed")]


def test_words_that_are_no_weights_may_be_alike() -> None:
    assert told({"other.words": words(0x88888888, 4, 4), "fc.qweight": words(0x99999999, 1, 1)}) == []


# Bytes


def mxfp4(blocks: NDArray[Any], scale: NDArray[Any]) -> Arrays:
    return {"mlp.experts.gate_up_proj_blocks": blocks, "mlp.experts.gate_up_proj_scales": scale}


def byte(value: int, *shape: int) -> NDArray[Any]:
    return np.full(shape, value, np.uint8)


def some(*shape: int) -> NDArray[Any]:
    return np.random.default_rng(2).integers(100, 130, shape).astype(np.uint8)


@pytest.mark.parametrize("value", [0x00, 0x88, 0x08, 0x80])
def test_blocks_of_zeros(value: int) -> None:
    assert told(mxfp4(some(2, 4, 2, 16), some(2, 4, 2))) == []
    (finding,) = told(mxfp4(byte(value, 2, 4, 2, 16), some(2, 4, 2)))
    assert (finding.severity, finding.rule) == ("error", "packed-zero")
    assert finding.evidence == (f"every byte is {value:#04x}: all 512 values are zero once unpacked (0 or -0 in E2M1)")


def test_blocks_of_one_other_byte() -> None:
    (finding,) = told(mxfp4(byte(0x77, 2, 4, 2, 16), some(2, 4, 2)))
    assert (finding.severity, finding.rule) == ("warning", "packed-constant")


def bitsandbytes(weight: NDArray[Any], way: str) -> Arrays:
    state = np.frombuffer(b'{"quant_type": "nf4"}', np.uint8)
    return {
        "fc.weight": weight,
        "fc.weight.absmax": scales(4).astype(np.float32),
        "fc.weight.quant_map": np.linspace(-1, 1, 16, dtype=np.float32),
        f"fc.weight.quant_state.bitsandbytes__{way}": state,
    }


@pytest.mark.parametrize(("way", "value"), [("nf4", 0x77), ("fp4", 0x00), ("fp4", 0x88)])
def test_codes_of_bitsandbytes_that_are_zero(way: str, value: int) -> None:
    assert told(bitsandbytes(some(128, 1), way)) == []
    assert said(bitsandbytes(byte(value, 128, 1), way)) == [("error", "packed-zero", "fc.weight")]


@pytest.mark.parametrize(("way", "value"), [("nf4", 0x00), ("nf4", 0x88), ("fp4", 0x77)])
def test_codes_of_bitsandbytes_that_are_one_number(way: str, value: int) -> None:
    assert said(bitsandbytes(byte(value, 128, 1), way)) == [("warning", "packed-constant", "fc.weight")]


def test_integers_of_one_value_beside_a_scale() -> None:
    arrays = {"fc.weight": np.full((8, 8), 3, np.int8), "fc.weight_scale": scales(8)}
    assert said(arrays) == [("warning", "packed-constant", "fc.weight")]
    arrays["fc.weight"] = np.zeros((8, 8), np.int8)
    assert said(arrays) == []
    assert [f.rule for f in check(MemorySource(arrays)).findings if f.severity != "info"] == ["all-zero"]
    assert said({"fc.weight": np.full((8, 8), 3, np.int8)}) == []


# Scales


@pytest.mark.parametrize(
    ("scale", "evidence"),
    [
        (byte(255, 2, 4, 2), "all 16 scales are 255, which is NaN in E8M0: every block is lost"),
        (np.where(np.arange(16) == 5, 255, 120).astype(np.uint8), "at least one of 16 scales is 255, which is NaN"),
        (byte(0, 2, 4, 2), "all 16 scales are 0, which is 2^-127 in E8M0: as if they were never written"),
    ],
)
def test_scales_that_restore_nothing(scale: NDArray[Any], evidence: str) -> None:
    (finding,) = told(mxfp4(some(2, 4, 2, 16), scale))
    assert (finding.severity, finding.rule) == ("error", "block-scale")
    assert finding.tensor == "mlp.experts.gate_up_proj_scales"
    assert finding.evidence.startswith(evidence)
    beside = {"fc.weight_packed": some(4, 16), "fc.weight_scale": scale}
    assert said(beside) == [("error", "block-scale", "fc.weight_scale")]


def test_bytes_that_are_other_scales_may_be_255() -> None:
    arrays = bitsandbytes(some(128, 1), "nf4") | {"fc.weight.absmax": byte(255, 4)}
    assert said(arrays) == []
    assert said({"audio_scales": byte(255, 4), "x.weight": some(4, 4)}) == []


# Groups


def test_a_group_that_has_no_scales() -> None:
    arrays = gptq(drawn(8, 16), 0x77777777)
    arrays["l.g_idx"][40] = 2
    (finding,) = told(arrays)
    assert (finding.severity, finding.rule, finding.tensor) == ("error", "group-index", "l.g_idx")
    assert finding.evidence == "the largest group is 2, but l.scales has 2 of them"
    arrays["l.g_idx"][40] = -1
    (finding,) = told(arrays)
    assert finding.evidence == "the smallest group is -1: no group is negative"


def test_the_groups_of_compressed_tensors_are_columns() -> None:
    order = (np.arange(64) // 32).astype(np.int32)
    arrays = {"l.weight_packed": drawn(16, 8), "l.weight_scale": scales(16, 2), "l.weight_g_idx": order}
    assert told(arrays) == []
    assert told({**arrays, "l.weight_g_idx": np.full(64, -1, np.int32)}) == []
    assert said({**arrays, "l.weight_g_idx": order + np.int32(1)}) == [("error", "group-index", "l.weight_g_idx")]
