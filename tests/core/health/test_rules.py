"""Each rule about the values of one tensor, on a tensor that has the fault and on one that has not."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import ml_dtypes
import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import tui_params
from tests.factories_memory import MemorySource
from tui_params.core import text
from tui_params.core.figures import Figures
from tui_params.core.findings import Finding
from tui_params.core.health.container import CONTAINER_RULES
from tui_params.core.health.registry import RULES, apply_rules
from tui_params.core.health.thresholds import DEFAULT, MEANINGS, Thresholds, with_threshold
from tui_params.core.health.values import _LARGEST
from tui_params.core.reading.tensor_reading import summarize
from tui_params.core.tensor import TensorInfo

BF16, E4M3, E5M2 = ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn, ml_dtypes.float8_e5m2


def normal(*shape: int, scale: float = 0.02, dtype: Any = np.float32, seed: int = 0) -> NDArray[Any]:
    return (np.random.default_rng(seed).standard_normal(shape) * scale).astype(dtype)


def measured(array: NDArray[Any], name: str = "layers.0.proj.weight", **changes: Any) -> tuple[TensorInfo, Figures]:
    source = MemorySource({name: array})
    info = source.listing.tensors[0]
    figures = summarize(source, info).figures(info.numel)
    return msgspec.structs.replace(info, **changes), figures


def found(array: NDArray[Any], name: str = "layers.0.proj.weight", limits: Thresholds = DEFAULT, **changes: Any) -> Any:
    """Severity by rule of what is said about an array."""
    info, figures = measured(array, name, **changes)
    return {finding.rule: finding.severity for finding in apply_rules(info, figures, None, limits)}


def with_values(array: NDArray[Any], *values: float) -> NDArray[Any]:
    array.reshape(-1)[: len(values)] = values
    return array


def test_a_healthy_matrix_has_no_findings() -> None:
    for dtype in (np.float64, np.float32, np.float16, BF16):
        assert found(normal(16, 32, dtype=dtype)) == {}
    assert found(normal(16, 32, scale=80, dtype=E4M3)) == {}


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16, BF16, E5M2, np.complex64])
def test_nan_and_infinities_are_errors_of_every_floating_type(dtype: Any) -> None:
    array = with_values(normal(8, 8).astype(dtype), np.nan, np.inf, -np.inf)
    info, figures = measured(array)
    said = [(finding.severity, finding.rule, finding.evidence) for finding in apply_rules(info, figures)]
    total = 128 if dtype is np.complex64 else 64
    assert said[:3] == [
        ("error", "nan", f"1 of {total} values is NaN"),
        ("error", "inf", f"1 of {total} values is +Inf"),
        ("error", "inf", f"1 of {total} values is -Inf"),
    ]


@pytest.mark.parametrize(
    "name",
    [
        "model.attn_mask",
        "h.0.attn.causal_mask",
        "callbacks.EarlyStopping.best_score",
        "act.min_val",
        "q_proj.input_max",
    ],
)
def test_infinities_that_mean_something_are_no_errors(name: str) -> None:
    assert found(np.array([0, -np.inf], np.float32), name)["inf"] == "info"
    assert found(np.array([0, np.nan], np.float32), name)["nan"] == "error"


def test_of_a_single_value_no_share_is_told() -> None:
    said: dict[str, str] = {}
    for value in (np.nan, -np.inf, 0.0):
        info, figures = measured(np.full(1, value, np.float32), "layers.0.proj.bias")
        said |= {finding.rule: finding.evidence for finding in apply_rules(info, figures)}
    assert said == {"nan": "the one value is NaN", "inf": "the one value is -Inf", "all-zero": "the one value is zero"}


def test_findings_of_a_sample_say_only_what_is_certain() -> None:
    info, figures = measured(with_values(np.zeros((4, 4), np.float32), np.nan))
    sampled = msgspec.structs.replace(figures, is_exact=False)
    assert [finding.rule for finding in apply_rules(info, sampled)] == ["nan"]


@pytest.mark.parametrize(
    ("name", "shape", "severity"),
    [
        ("layers.0.proj.weight", (4, 4), "error"),
        ("model.embed_tokens.weight", (4, 4), "error"),
        ("conv.weight", (4, 1, 3, 3), "error"),
        ("layers.0.proj.bias", (4,), "info"),
        ("relative_position_bias_table", (4, 4), "info"),
        ("cls_token", (1, 1, 4), "info"),
        ("q_proj.lora_B.default.weight", (4, 4), "info"),
        ("unet.lora_up.weight", (4, 4), "info"),
        ("state.0.exp_avg", (4, 4), "info"),
        ("optimizer.fc.weight.momentum_buffer", (4, 4), "info"),
        ("blocks.0.adaLN_modulation.1.weight", (4, 4), "info"),
        ("zero_convs.0.0.weight", (4, 4, 1, 1), "info"),
        ("decoder.layers.0.encoder_attn.sampling_offsets.weight", (4, 4), "info"),
        ("vision_encoder.layers.0.attn.rel_pos_h", (4, 4), "info"),
        ("q_proj.lora_A.default.weight", (4, 4), "info"),
        ("unet.to_q.lora.up.weight", (4, 4), "info"),
        ("unet.to_q.lora.extra.weight", (4, 4), "error"),
        ("attn_mask", (4, 4), "info"),
    ],
)
def test_zeros_are_an_error_only_of_a_weight_matrix(name: str, shape: tuple[int, ...], severity: str) -> None:
    assert found(np.zeros(shape, np.float32), name)["all-zero"] == severity


def test_zeros_of_gradients_buffers_and_integers() -> None:
    zeros = np.zeros((4, 4), np.float32)
    assert found(zeros, kind="gradient")["all-zero"] == "info"
    assert found(zeros, kind="buffer")["all-zero"] == "info"
    assert found(np.zeros((4, 4), np.int8), "fc.weight")["all-zero"] == "warning"
    assert found(np.zeros((4, 4), np.int64), "position_ids")["all-zero"] == "info"
    assert found(np.zeros(4, np.float32), "bn.running_mean") == {}
    assert found(np.zeros(4, np.float32), kind="gradient")["all-zero"] == "info"
    assert found(np.zeros((1, 4), np.int64), "token_type_ids") == found(np.array(0, np.uint8), "fc.weight_format") == {}
    assert "all-zero" not in found(with_values(zeros, 1e-30))
    assert found(np.zeros((0, 4), np.float32)) == {}


def test_one_value_everywhere() -> None:
    assert found(np.full((4, 4), 3.0, np.float32)) == {"constant": "warning"}
    assert found(np.full((4, 4), 7, np.int32), "fc.qzeros") == {}
    assert found(np.ones(4, np.float32), "layers.0.input_layernorm.weight") == {"constant": "info"}
    assert found(np.ones((4, 4), np.float32), "layers.0.attn.q_norm.weight") == {"constant": "info"}
    assert found(np.ones((4, 4), np.float32), "resampler.latents") == {"constant": "info"}
    assert found(np.ones(4, np.float32), "logits.bias") == {}
    assert found(np.full((), 3.0, np.float32), "logit_scale") == {}
    assert found(with_values(np.full((4, 4), 3.0, np.float32), 2.9)) == {}


def test_mostly_zero_has_a_limit_of_its_own_for_embeddings() -> None:
    def sparse(share: float) -> NDArray[Any]:
        array = normal(10, 10)
        array.reshape(-1)[: round(100 * share)] = 0
        return array

    assert found(sparse(0.8)) == {}
    assert found(sparse(0.81)) == {"mostly-zero": "warning"}
    assert found(sparse(0.51), "lm_head.weight") == {"mostly-zero": "warning"}
    assert found(sparse(0.5), "lm_head.weight") == {}
    assert found(sparse(0.9), kind="gradient") == {}
    assert found(sparse(0.2), limits=with_threshold(DEFAULT, "mostly-zero", 0.1)) == {"mostly-zero": "warning"}


def test_magnitudes_beyond_reason() -> None:
    assert found(with_values(normal(4, 4), 1e4)) == {}
    assert found(with_values(normal(4, 4), -1.1e4))["abs-max"] == "warning"
    assert found(with_values(normal(4, 4), 1.1e6))["abs-max"] == "error"
    assert found(with_values(normal(16), 1.1e6), "fc.bias")["abs-max"] == "warning"
    for dtype in (np.float32, BF16):
        assert found(with_values(normal(4, 4, dtype=dtype), -1e9), "crf.transitions")["abs-max"] == "warning"
        assert found(with_values(normal(4, 4, dtype=dtype), 1e9), "crf.transitions")["abs-max"] == "error"
        assert found(with_values(normal(4, 4, dtype=dtype), -1.3e9, 0.5))["abs-max"] == "error"
        assert found(with_values(normal(4, 4, dtype=dtype), -1e9, 1e5))["abs-max"] == "error"
        forbidden = float(ml_dtypes.finfo(dtype).min)
        assert found(with_values(normal(4, 4, dtype=dtype), forbidden))["abs-max"] == "warning"
    arrays: dict[str, NDArray[Any]] = {
        "attn.masked_bias": np.array(-1e9, np.float32),
        "model.attn_mask": np.full(4, -3e38, np.float32),
        "optimizer.state.0.step": np.array(2e6, np.float32),
        "bn.running_var": np.array([1e7, 1.0], np.float32),
        "fc.weight": np.full((2, 2), 10**7, np.int32) + np.arange(2, dtype=np.int32),
    }
    for name, array in arrays.items():
        assert "abs-max" not in found(array, name), name
    assert "abs-max" not in found(with_values(normal(4, 4, scale=1e4, dtype=E5M2), 57344))


@pytest.mark.parametrize(
    ("dtype", "rule"),
    [
        (np.float16, "fp16-saturation"),
        (E4M3, "fp8-saturation"),
        (E5M2, "fp8-saturation"),
        (ml_dtypes.float8_e4m3fnuz, "fp8-saturation"),
        (ml_dtypes.float8_e5m2fnuz, "fp8-saturation"),
    ],
)
def test_a_pile_at_the_end_of_the_type(dtype: Any, rule: str) -> None:
    largest = float(ml_dtypes.finfo(dtype).max)
    array = normal(256, 512, scale=0.01 * largest, dtype=dtype)
    assert rule not in found(array)
    array[:, :10] = largest
    array[:, 10:20] = -largest
    info, figures = measured(array)
    said = {finding.rule: finding for finding in apply_rules(info, figures)}
    assert said[rule].severity == "warning"
    where = f"±{text.number(largest)}, the largest of {info.dtype}"
    assert said[rule].evidence == f"5,120 of 131,072 values (3.91 %) are at {where}, and 0 just below"
    assert rule not in found(array, "attn_mask")
    assert rule in found(array, kind="gradient")
    assert rule not in found(array, limits=with_threshold(DEFAULT, "saturated-share", 0.5))


def scaled(array: NDArray[Any], block: tuple[int, int]) -> NDArray[Any]:
    """A matrix cast to float8_e4m3fn so that the largest of each block becomes 448."""
    rows, columns = array.shape
    blocks = array.reshape(rows // block[0], block[0], columns // block[1], block[1])
    result: NDArray[Any] = (
        (448 * blocks / np.abs(blocks).max(axis=(1, 3), keepdims=True)).reshape(array.shape).astype(E4M3)
    )
    return result


@pytest.mark.parametrize("block", [(256, 512), (1, 512), (256, 1), (128, 128), (1, 128)])
@pytest.mark.parametrize("is_uniform", [False, True])
def test_scaling_to_the_largest_value_is_no_saturation(block: tuple[int, int], is_uniform: bool) -> None:
    array = np.random.default_rng(0).uniform(-1, 1, (256, 512)) if is_uniform else normal(256, 512)
    cast = scaled(array, block)
    assert np.count_nonzero(np.abs(cast.astype(np.float32)) == 448) >= 256 * 512 // (block[0] * block[1])
    assert found(cast) == {}


def test_a_cast_without_a_scale_saturates() -> None:
    array = normal(256, 512, scale=250)
    assert found(np.clip(array, -448, 448).astype(E4M3)) == {"fp8-saturation": "warning"}
    assert found(np.clip(array, -448, 448).astype(E4M3), "fc.bias") == {"fp8-saturation": "warning"}
    clipped = np.clip(array * 300, -65504, 65504).astype(np.float16)
    assert found(clipped) == {"abs-max": "warning", "fp16-saturation": "warning"}


@settings(max_examples=50)
@given(
    st.sampled_from([np.float16, E4M3, E5M2]),
    st.lists(st.sampled_from([1.0, -1.0, 0.99, 0.5, 0.0, np.nan]), min_size=1, max_size=60),
)
def test_as_many_elements_at_the_end_are_told_as_there_are(dtype: Any, shares: list[float]) -> None:
    largest = float(ml_dtypes.finfo(dtype).max)
    array = (np.array(shares, np.float32) * largest).astype(dtype)
    info, figures = measured(array)
    assert figures.at_max == np.count_nonzero(np.abs(array.astype(np.float64)) == largest)
    for finding in apply_rules(info, figures):
        if finding.rule.endswith("saturation"):
            assert finding.evidence.startswith(f"{figures.at_max:,} of {array.size:,} values ")


def test_the_largest_values_are_those_of_the_types() -> None:
    for name, largest in _LARGEST.items():
        dtype = np.float16 if name == "float16" else getattr(ml_dtypes, name)
        assert float(ml_dtypes.finfo(dtype).max) == largest


def test_many_subnormals() -> None:
    assert found(normal(32, 32, scale=1e-5, dtype=np.float16))["many-subnormals"] == "warning"
    assert found(normal(32, 32, scale=1e-5, dtype=np.float16), kind="gradient")["many-subnormals"] == "info"
    assert found(normal(32, 32, scale=0.02, dtype=np.float16)) == {}
    assert found(normal(32, 32, scale=1e-5, dtype=np.float32)) == {}
    assert found(normal(32, 32, dtype=ml_dtypes.float4_e2m1fn, scale=0.5)) == {}


def test_a_view_that_keeps_a_large_storage() -> None:
    array = normal(4, 4)
    assert found(array, storage_nbytes=1 << 22) == {"view-of-large-storage": "info"}
    assert found(array, storage_nbytes=1 << 10) == {}
    large = normal(1024, 512)
    assert found(large, storage_nbytes=2 * large.nbytes) == {}


def test_thresholds_are_all_explained_and_used() -> None:
    assert set(MEANINGS) == set(Thresholds.__struct_fields__)
    assert {name for rule in RULES for name in rule.thresholds} == set(MEANINGS)
    with pytest.raises(ValueError, match="there is no threshold 'speed'; the thresholds are mostly-zero,"):
        with_threshold(DEFAULT, "speed", 1)
    for value in (float("nan"), float("inf"), -1):
        with pytest.raises(ValueError, match="must be finite and not negative"):
            with_threshold(DEFAULT, "sibling-z", value)


def test_every_rule_says_what_it_is_and_where_it_comes_from() -> None:
    ids = [rule.id for rule in RULES]
    assert len(set(ids)) == len(ids)
    for rule in RULES:
        assert rule.meaning.endswith(".")
        assert rule.source
        assert rule.title
        assert list(rule.severities) == sorted(rule.severities, key=["error", "warning", "info"].index)


VALUES = st.lists(
    st.one_of(st.floats(width=32), st.sampled_from([0.0, -0.0, float("nan"), float("inf"), 65504.0, 1e-40])),
    min_size=0, max_size=24,
)  # fmt: skip
NAMES = st.sampled_from(
    [
        "fc.weight",
        "norm.weight",
        "bn.running_var",
        "w.weight_scale",
        "fc.bias",
        "q.lora_B.weight",
        "attn_mask",
        "s.absmax",
    ]
)


@settings(max_examples=150)
@given(VALUES, NAMES, st.sampled_from([np.float32, np.float16, BF16, E4M3, np.int32, np.bool_]), st.booleans())
def test_random_tensors_get_findings_that_their_rules_announce(
    values: list[float], name: str, dtype: Any, is_matrix: bool
) -> None:
    with np.errstate(all="ignore"):
        array = np.array(values, np.float32).astype(dtype)
    info, figures = measured(array.reshape(2, -1) if is_matrix and array.size % 2 == 0 else array, name)
    severities = {rule.id: rule.severities for rule in RULES}
    said = apply_rules(info, figures)
    for finding in said:
        assert isinstance(finding, Finding)
        assert finding.severity in severities[finding.rule]
        assert finding.tensor == name
        assert finding.evidence.isprintable()
    assert any(finding.rule == "nan" for finding in said) == bool(figures.nan)


def test_the_rules_of_containers_are_those_of_the_readers() -> None:
    package = Path(tui_params.__file__).parent
    ours = (package / "core" / "health" / name for name in ("checksums.py", "verification.py"))
    readers = [*(package / "sources").rglob("*.py"), *ours]
    text = "".join(path.read_text(encoding="utf-8") for path in readers)
    assert [rule.id for rule in CONTAINER_RULES if f'"{rule.id}"' not in text] == []
    said = set(re.findall(r'"(?:error|warning|info)",\s+"([a-z0-9-]+)"', text)) | set(
        re.findall(r'bad\("([a-z-]+)"', text)
    )
    assert said - {rule.id for rule in CONTAINER_RULES} == set()
