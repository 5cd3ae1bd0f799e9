"""The changes that adapters make, in every spelling, against the change formed as its library forms it.

All formulas were compared once with ``merge`` of peft 0.21, ``fuse`` of mlx-lm 0.32 and ``get_weight`` of LyCORIS 4.1,
with which it trains; in float64 the largest relative difference was 1e-14. (LyCORIS' own merge scales LoHa twice.)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import ml_dtypes
import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.factories_memory import MemorySource
from tui_params.core.adapter_config import parse_adapter_config
from tui_params.core.adapters.change import Change, Changes
from tui_params.core.health.adapters import adapters_of
from tui_params.errors import StoppedError

Arrays = dict[str, NDArray[Any]]
M = "base_model.model.layers.0.q_proj"


def values(*shape: int, seed: int = 0, dtype: Any = np.float32) -> NDArray[Any]:
    return (np.random.default_rng(seed + sum(shape)).normal(size=shape) * 0.3).astype(dtype)


def f64(array: NDArray[Any]) -> NDArray[np.float64]:
    return array.astype(np.float64)


def source_of(arrays: Mapping[str, NDArray[Any]], config: Mapping[str, Any] | None = None) -> MemorySource:
    source = MemorySource(arrays)
    parsed = parse_adapter_config(config, "adapter_config.json") if config is not None else None
    if parsed is not None:
        source.listing = msgspec.structs.replace(source.listing, adapters=(parsed,))
    return source


def change_of(arrays: Mapping[str, NDArray[Any]], **config: Any) -> Change:
    """The change of the only adapter in some arrays."""
    source = source_of(arrays, config or None)
    (adapter,) = adapters_of(source)
    return Changes(source).of(adapter)


def check(change: Change, delta: NDArray[Any], weight: NDArray[Any] | None = None) -> None:
    assert change.reason is None
    assert change.norm == pytest.approx(float(np.linalg.norm(delta)), rel=1e-12)
    if weight is None:
        assert (change.base, change.base_norm, change.relative) == (None, None, None)
    else:
        norm = float(np.linalg.norm(f64(weight)))
        assert change.base_norm == pytest.approx(norm, rel=1e-12)
        assert change.relative == pytest.approx(float(np.linalg.norm(delta)) / norm, rel=1e-12)


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16, ml_dtypes.bfloat16])
@pytest.mark.parametrize(
    ("first", "second", "config"),
    [
        ("lora_A.weight", "lora_B.weight", {"r": 4, "lora_alpha": 6}),
        ("lora_A.default.weight", "lora_B.default.weight", {"r": 4, "lora_alpha": 6}),
        ("lora_a.weight", "lora_b.weight", {"r": 4, "lora_alpha": 6}),
        ("lora_embedding_A", "lora_embedding_B", {"r": 4, "lora_alpha": 6}),
        ("lora_down.weight", "lora_up.weight", {}),
        ("lora.down.weight", "lora.up.weight", {}),
    ],
)
def test_lora(first: str, second: str, config: dict[str, Any], dtype: Any) -> None:
    a, b = values(4, 24, dtype=dtype), values(36, 4, dtype=dtype)
    change = change_of({f"{M}.{first}": a, f"{M}.{second}": b}, **config)
    check(change, f64(b) @ f64(a) * (1.5 if config else 1.0))


def test_kohya_has_its_alpha_in_a_tensor_and_diffusers_its_names() -> None:
    a, b = values(4, 24), values(36, 4)
    kohya = change_of({"m.lora_down.weight": a, "m.lora_up.weight": b, "m.alpha": np.array(2.0, np.float32)})
    check(kohya, f64(b) @ f64(a) * 0.5)
    module = "unet.attn1.processor.to_q_lora"
    weight = values(36, 24, seed=5)
    diffusers = change_of({f"{module}.down.weight": a, f"{module}.up.weight": b, "unet.attn1.to_q.weight": weight})
    check(diffusers, f64(b) @ f64(a), weight)
    assert diffusers.base == "unet.attn1.to_q.weight"


def test_convolutions() -> None:
    a, b = values(4, 8, 3, 3), values(12, 4, 1, 1)
    change = change_of({f"{M}.lora_A.weight": a, f"{M}.lora_B.weight": b}, r=4, lora_alpha=4)
    check(change, f64(b).reshape(12, 4) @ f64(a).reshape(4, -1))


def test_a_convolution_in_three_factors() -> None:
    down, mid, up = values(4, 8, 1, 1), values(5, 4, 3, 3), values(12, 5, 1, 1)
    arrays = {"m.lora_down.weight": down, "m.lora_mid.weight": mid, "m.lora_up.weight": up}
    delta = np.einsum("oa,abkl,bi->oikl", f64(up)[..., 0, 0], f64(mid), f64(down)[..., 0, 0])
    check(change_of(arrays | {"m.alpha": np.array(4.0, np.float32)}), delta)
    odd = change_of(arrays | {"m.lora_mid.weight": values(3, 4, 3, 3), "m.alpha": np.array(4.0, np.float32)})
    assert odd.reason is not None
    assert "middle factor" in odd.reason


def test_scales() -> None:
    a, b = values(4, 24), values(36, 4)
    arrays = {f"{M}.lora_A.weight": a, f"{M}.lora_B.weight": b}
    check(change_of(arrays, r=4, lora_alpha=6, use_rslora=True), f64(b) @ f64(a) * 3.0)
    check(change_of(arrays, r=4, lora_alpha=6, alpha_pattern={"q_proj": 10}), f64(b) @ f64(a) * 2.5)
    unknown = change_of(arrays)
    assert unknown.norm is None
    assert unknown.unscaled == pytest.approx(float(np.linalg.norm(f64(b) @ f64(a))), rel=1e-12)
    assert "its scale is not known" in unknown.words


def test_mlx_has_a_scale_and_its_factors_the_other_way_round() -> None:
    a, b = values(24, 4), values(4, 36)
    arrays = {"model.layers.0.q_proj.lora_a": a, "model.layers.0.q_proj.lora_b": b}
    parameters = {"rank": 4, "scale": 20.0, "dropout": 0.0}
    change = change_of(arrays, fine_tune_type="lora", lora_parameters=parameters, model="mlx/tiny")
    check(change, f64(a) @ f64(b) * 20.0)
    assert change.model == "mlx/tiny"
    (adapter,) = adapters_of(source_of(arrays, {"lora_parameters": parameters}))
    assert adapter.words == "rank 4, scale 20 (as stated)"


def test_dora_of_mlx() -> None:
    a, b, m, weight = values(24, 4), values(4, 36), values(36, seed=7), values(36, 24, seed=8)
    arrays = {"q.lora_a": a, "q.lora_b": b, "q.m": m, "q.linear.weight": weight}
    sums = f64(weight) + (f64(a) @ f64(b)).T * 20.0
    new = f64(m)[:, None] * sums / np.linalg.norm(sums, axis=1, keepdims=True)
    change = change_of(arrays, fine_tune_type="dora", lora_parameters={"rank": 4, "scale": 20.0})
    check(change, new - f64(weight), weight)


def test_adalora() -> None:
    a, b, e = values(5, 24), values(36, 5), values(5, 1)
    arrays = {f"{M}.lora_A": a, f"{M}.lora_B": b, f"{M}.lora_E": e}
    change = change_of(arrays, peft_type="ADALORA", init_r=5, r=8, lora_alpha=6)
    check(change, f64(b) @ (f64(a) * f64(e)) * (6 / (5 + 1e-5)))


def test_experts_share_one_tensor() -> None:
    # peft/tuners/lora/layer.py, ParamWrapper.get_delta_weight.
    experts, rank = 3, 2
    a, b = values(experts * rank, 10), values(12, experts * rank)
    change = change_of(
        {f"{M}.lora_A.weight": a, f"{M}.lora_B.weight": b}, r=2, lora_alpha=4, target_parameters=["experts.up"]
    )
    delta = np.einsum("ore,eri->eio", f64(b).reshape(12, rank, experts), f64(a).reshape(experts, rank, 10)) * 2.0
    check(change, delta)


def test_loha() -> None:
    arrays = {
        f"{M}.hada_w1_a": values(36, 4), f"{M}.hada_w1_b": values(4, 24, seed=1),
        f"{M}.hada_w2_a": values(36, 3, seed=2), f"{M}.hada_w2_b": values(3, 24, seed=3),
    }  # fmt: skip
    one, two, three, four = map(f64, arrays.values())
    check(change_of(arrays, r=4, alpha=6), (one @ two) * (three @ four) * 1.5)
    broken = change_of(arrays | {f"{M}.hada_w2_b": values(3, 25)}, r=4, alpha=6)
    assert (broken.norm, broken.reason) == (None, "its two products have different shapes")


def test_loha_of_a_convolution() -> None:
    arrays = {
        f"{M}.hada_w1_a": values(4, 12), f"{M}.hada_w1_b": values(4, 8, seed=1), f"{M}.hada_t1": values(4, 4, 3, 3),
        f"{M}.hada_w2_a": values(4, 12, seed=2), f"{M}.hada_w2_b": values(4, 8, seed=3),
        f"{M}.hada_t2": values(4, 4, 3, 3, seed=4),
    }  # fmt: skip
    a, b, t, c, d, u = map(f64, arrays.values())
    delta = np.einsum("ijkl,ip,jr->prkl", t, a, b) * np.einsum("ijkl,ip,jr->prkl", u, c, d)
    check(change_of(arrays, r=4, alpha=4), delta)


@pytest.mark.parametrize("is_whole", [True, False])
def test_lokr(is_whole: bool) -> None:
    first = values(6, 4)
    second = {"lokr_w2": values(6, 6)} if is_whole else {"lokr_w2_a": values(6, 2), "lokr_w2_b": values(2, 6)}
    arrays = {f"{M}.lokr_w1": first} | {f"{M}.{name}": array for name, array in second.items()}
    whole = f64(second["lokr_w2"]) if is_whole else f64(second["lokr_w2_a"]) @ f64(second["lokr_w2_b"])
    scale = {"r": 2, "alpha": 6}
    check(change_of(arrays, **scale), np.kron(f64(first), whole) * 3.0)


def test_lokr_of_a_convolution() -> None:
    arrays = {f"{M}.lokr_w1_a": values(3, 2), f"{M}.lokr_w1_b": values(2, 4)} | {
        f"{M}.lokr_t2": values(2, 2, 3, 3), f"{M}.lokr_w2_a": values(2, 5), f"{M}.lokr_w2_b": values(2, 7),
    }  # fmt: skip
    a, b, t, c, d = map(f64, arrays.values())
    second = np.einsum("ijkl,ip,jr->prkl", t, c, d)
    check(change_of(arrays, r=2, alpha=2), np.kron((a @ b)[..., None, None], second))


def test_dora_needs_the_weight() -> None:
    a, b, m, weight = values(4, 24), values(36, 4), values(36, seed=7), values(36, 24, seed=8)
    arrays = {f"{M}.lora_A.weight": a, f"{M}.lora_B.weight": b, f"{M}.lora_magnitude_vector": m}
    config = {"r": 4, "lora_alpha": 6}
    sums = f64(weight) + f64(b) @ f64(a) * 1.5
    new = f64(m)[:, None] * sums / np.linalg.norm(sums, axis=1, keepdims=True)
    check(change_of(arrays | {f"{M}.base_layer.weight": weight}, **config), new - f64(weight), weight)
    alone = change_of(arrays, **config)
    assert alone.norm is None
    assert alone.unscaled == pytest.approx(float(np.linalg.norm(f64(b) @ f64(a))), rel=1e-12)
    assert "the weight, which is not here" in alone.words


@pytest.mark.parametrize("has_base", [True, False])
def test_vera(has_base: bool) -> None:
    shared = {"base_model.vera_A": values(4, 30), "base_model.vera_B": values(40, 4)}
    own = {f"{M}.vera_lambda_b": values(36), f"{M}.vera_lambda_d": values(4)}
    weight = values(36, 24)
    change = change_of(shared | own | ({f"{M}.weight": weight} if has_base else {}))
    if has_base:
        first = f64(own[f"{M}.vera_lambda_d"])[:, None] * f64(shared["base_model.vera_A"])[:, :24]
        second = f64(own[f"{M}.vera_lambda_b"])[:, None] * f64(shared["base_model.vera_B"])[:36]
        check(change, second @ first, weight)
    else:
        assert "how many inputs" in change.words
    assert "not stored" in change_of(own).words


@pytest.mark.parametrize("by_row", [True, False])
def test_ia3(by_row: bool) -> None:
    weight, numbers = values(36, 24), values(36, 1) if by_row else values(1, 24)
    check(change_of({f"{M}.ia3_l": numbers, f"{M}.weight": weight}), f64(weight) * (f64(numbers) - 1), weight)
    assert "not here" in change_of({f"{M}.ia3_l": numbers}).words
    assert "do not fit" in change_of({f"{M}.ia3_l": values(1, 5), f"{M}.weight": weight}).words


def test_ia3_of_a_convolution_says_if_it_cannot_tell() -> None:
    numbers = values(1, 8, 1, 1)
    weight = values(12, 8, 3, 3)
    check(change_of({f"{M}.ia3_l": numbers, f"{M}.weight": weight}), f64(weight) * (f64(numbers) - 1), weight)
    assert "not stored" in change_of({f"{M}.ia3_l": numbers, f"{M}.weight": values(8, 8, 3, 3)}).words


@pytest.mark.parametrize("terms", [1, 2, 3, 4, 5, 7, None])
def test_oft(terms: int | None) -> None:
    weight, skew = values(36, 24), values(6, 6)
    q = np.zeros((6, 4, 4))
    rows, columns = np.triu_indices(4, 1)
    q[:, rows, columns] = f64(skew)
    q -= q.transpose(0, 2, 1)
    one = np.eye(4)
    # What each number of terms makes in peft: the last term once.
    series = {1: one, 2: one + 2 * q}
    power = [one, q, q @ q, q @ q @ q, q @ q @ q @ q, q @ q @ q @ q @ q, q @ q @ q @ q @ q @ q]
    series[3] = series[4] = one + 2 * q + 2 * power[2] + power[3]
    series[5] = one + 2 * q + 2 * power[2] + 2 * power[3] + power[4]
    series[7] = one + 2 * (q + power[2] + power[3] + power[4] + power[5]) + power[6]
    turn = series[terms] if terms is not None else (one - q) @ np.linalg.inv(one + q)
    turn = np.broadcast_to(turn, (6, 4, 4))
    new = np.concatenate([f64(weight)[:, 4 * n : 4 * n + 4] @ turn[n].T for n in range(6)], axis=1)
    config = {"peft_type": "OFT", "use_cayley_neumann": terms is not None, "num_cayley_neumann_terms": terms or 5}
    arrays = {f"{M}.oft_R.weight": skew, f"{M}.weight": weight}
    delta = new - f64(weight)
    change = change_of(arrays, **config)
    assert change.norm == pytest.approx(float(np.linalg.norm(delta)), rel=1e-10, abs=1e-15)
    assert "not stated" in change_of(arrays, peft_type="OFT").words
    assert "does not fit" in change_of(arrays | {f"{M}.weight": values(36, 25)}, **config).words


def test_norms_that_are_replaced() -> None:
    old, new = values(24), values(24, seed=4)
    arrays = {f"{M}.ln_tuning_layers.default.weight": new, f"{M}.ln_tuning_layers.default.bias": values(24)}
    check(change_of(arrays | {f"{M}.base_layer.weight": old}, peft_type="LN_TUNING"), f64(new) - f64(old), old)
    assert "what it replaces is not here" in change_of(arrays).words


@pytest.mark.parametrize(
    ("peft_type", "kind"),
    [("PROMPT_TUNING", "prompt tuning"), ("PREFIX_TUNING", "prefix tuning"), ("P_TUNING", "P-tuning")],
)
def test_prompts_change_no_weight(peft_type: str, kind: str) -> None:
    source = source_of({"prompt_embeddings": values(20, 64)}, {"peft_type": peft_type})
    (adapter,) = adapters_of(source)
    assert adapter.kind == kind
    assert adapter.words == "vectors before the input, which change no weight"
    assert "changes no weight" in Changes(source).of(adapter).words


def test_a_fresh_adapter_changes_nothing_whatever_its_scale() -> None:
    change = change_of({f"{M}.lora_A.weight": values(4, 24), f"{M}.lora_B.weight": np.zeros((36, 4), np.float32)})
    assert (change.norm, change.reason) == (0.0, None)


@pytest.mark.parametrize(
    ("arrays", "sentence"),
    [
        ({"lora_A.weight": values(4, 24)}, "lora_B is not here"),
        ({"lora_B.weight": values(36, 4)}, "lora_A is not here"),
        ({"lora_A.weight": values(4, 24), "lora_B.weight": values(36, 8)}, "ranks 8 and 4"),
        ({"lora_A.weight": values(4, 24) * np.nan, "lora_B.weight": values(36, 4)}, "lora_A holds values that are not"),
        ({"lora_A.weight": values(4, 24), "lora_B0.weight": values(36, 4), "lora_B1.weight": values(36, 4)}, "several"),
        ({"lora_A.weight": values(4), "lora_B.weight": values(36, 4)}, "no matrix"),
        ({"randlora_lambda": values(4, 3), "randlora_gamma": values(3)}, "of RandLoRA none is computed here"),
    ],
)
def test_what_is_not_known_is_said(arrays: Arrays, sentence: str) -> None:
    change = change_of({f"{M}.{name}": array for name, array in arrays.items()}, r=4, lora_alpha=4)
    assert change.norm is None
    assert change.reason is not None
    assert sentence in change.reason


def test_rank_zero_and_empty_weights_change_nothing() -> None:
    for rank, inputs in ((0, 24), (4, 0)):
        arrays = {f"{M}.lora_A.weight": values(rank, inputs), f"{M}.lora_B.weight": values(36, rank)}
        assert change_of(arrays, r=4, lora_alpha=4).norm == 0.0


def test_a_weight_without_a_norm_leaves_the_norm_of_the_change() -> None:
    arrays = {f"{M}.lora_A.weight": values(4, 24), f"{M}.lora_B.weight": values(36, 4)}
    packed = change_of(arrays | {f"{M}.weight": np.ones((18, 24), np.uint8)}, r=4, lora_alpha=4)
    assert packed.norm is not None
    assert packed.relative is None
    assert "quantised" in packed.words
    zero = change_of(arrays | {f"{M}.weight": np.zeros((36, 24), np.float32)}, r=4, lora_alpha=4)
    assert (zero.base_norm, zero.relative) == (0.0, None)


def test_a_start_that_moves_the_weight_is_said() -> None:
    arrays = {f"{M}.lora_A.weight": values(4, 24), f"{M}.lora_B.weight": values(36, 4)}
    change = change_of(
        arrays, r=4, lora_alpha=4, init_lora_weights="pissa_niter_16", base_model_name_or_path="org/tiny"
    )
    assert "pissa_niter_16 has moved the weight" in change.words
    assert change.model == "org/tiny"
    assert change.shapes == "lora_A [4, 24], lora_B [36, 4]"


def test_two_adapters_of_a_module_are_told_apart() -> None:
    arrays = {
        f"{M}.lora_{half}.{name}.weight": array
        for name, pair in {"one": (values(4, 24), values(36, 4)), "two": (values(2, 24), values(36, 2))}.items()
        for half, array in zip("AB", pair, strict=True)
    }
    source = source_of(arrays)
    changes = Changes(source)
    found = {adapter.name: changes.of(adapter).unscaled for adapter in adapters_of(source)}
    for name in ("one", "two"):
        delta = f64(arrays[f"{M}.lora_B.{name}.weight"]) @ f64(arrays[f"{M}.lora_A.{name}.weight"])
        assert found[name] == pytest.approx(float(np.linalg.norm(delta)), rel=1e-12)


def test_the_work_can_be_given_up() -> None:
    source = source_of({f"{M}.lora_A.weight": values(4, 24), f"{M}.lora_B.weight": values(36, 4)})
    (adapter,) = adapters_of(source)
    with pytest.raises(StoppedError):
        Changes(source).of(adapter, lambda: True)
