"""Tells weights whose codes lie in words of 32 bits: GPTQ, AWQ, compressed-tensors, MLX."""

from __future__ import annotations

from collections.abc import Iterable

from tui_params.core.dtypes import DType, from_torch
from tui_params.core.packed.sought import Sought, Untold, want, want_floats, want_integers
from tui_params.core.packed.weight import PackedWeight
from tui_params.core.packed.words import Awq, Gptq, Mlx, MlxMicro, PackQuantized
from tui_params.core.tensor import TensorInfo


def tell_gptq_or_awq(sought: Sought, info: TensorInfo) -> PackedWeight | None:
    """``qweight`` beside ``qzeros`` and ``scales``: GPTQ packs along the inputs, AWQ along the outputs."""
    head = info.name.removesuffix("qweight")
    zeros, scales = sought.need(f"{head}qzeros"), sought.need(f"{head}scales")
    order = sought.find(f"{head}g_idx")
    want(info.ndim == zeros.ndim == scales.ndim == 2, "qweight, qzeros and scales are not matrices")
    want(info.dtype.name == zeros.dtype.name == "int32", f"its words are {info.dtype.name}, not int32")
    want_floats(scales)
    groups, outputs = scales.shape
    want(groups > 0 and zeros.shape[0] == groups, f"{zeros.name} has {zeros.shape[0]:,} groups, scales {groups:,}")
    if info.shape[1] == outputs:
        return _gptq(sought, info, zeros, scales, order, f"{head}weight")
    want(info.shape[1] * 8 == outputs == zeros.shape[1] * 8, _unfit(scales, info))
    inputs = info.shape[0]
    shape, group = (outputs, inputs), _group(sought, inputs, groups)
    scheme = Awq(info, zeros, scales, group)
    return PackedWeight(f"{head}weight", shape, scales.dtype, "AWQ int4", (info, zeros, scales), group, scheme)


def _gptq(
    sought: Sought, info: TensorInfo, zeros: TensorInfo, scales: TensorInfo, order: TensorInfo | None, name: str
) -> PackedWeight:
    groups, outputs = scales.shape
    bits, rest = divmod(zeros.shape[1] * 32, outputs)
    if rest:
        bits = sought.stated_number("bits") or 0
    want(bits in (2, 3, 4, 8), f"{zeros.name} of shape {list(zeros.shape)} has no whole number of bits for a code")
    inputs = info.shape[0] * 32 // bits
    if order is not None:
        want(order.shape == (inputs,), f"{order.name} has shape {list(order.shape)} for {inputs:,} inputs")
        want_integers(sought.need(order.name))
    # An order tells the group of each input, whatever their sizes.
    size = sought.group(inputs, groups) if order is not None else _group(sought, inputs, groups)
    is_v2 = sought.stated("checkpoint_format") == "gptq_v2"
    parts = (info, zeros, scales) if order is None else (info, zeros, scales, order)
    scheme = Gptq(info, zeros, scales, order, bits, size or -(-inputs // groups), not is_v2)
    # Configurations from before v2 say nothing of it. Where there is none, it may be either.
    is_stated = any(sought.stated(key) is not None for key in ("quant_method", "bits", "checkpoint_format"))
    unsure = "" if is_stated else ", read as v1: no config.json says v1 or v2"
    method = f"GPTQ{' v2' if is_v2 else ''} int{bits}{unsure}"
    return PackedWeight(name, (outputs, inputs), scales.dtype, method, parts, size, scheme)


def _group(sought: Sought, inputs: int, groups: int) -> int:
    """The size of a group. Raises Untold."""
    size = sought.group(inputs, groups)
    if size is None:
        raise Untold(f"{inputs:,} inputs have {groups:,} groups, and their size is stated nowhere")
    return size


def tell_pack_quantized(sought: Sought, info: TensorInfo) -> PackedWeight | None:
    """``weight_packed`` in words beside ``weight_scale`` and ``weight_shape``, which states the shape."""
    if info.dtype.name != "int32" or info.ndim != 2:
        return None
    name = info.name.removesuffix("_packed")
    scale, sizes = sought.need(f"{name}_scale"), sought.need(f"{name}_shape")
    shape = tuple(sought.numbers(sizes))
    want(len(shape) == 2 and shape[0] == info.shape[0] and shape[1] > 0, f"{sizes.name} says {list(shape)[:8]}")
    fitting = [bits for bits in (4, 8, 2, 3, 6, 5, 1, 7) if -(-shape[1] * bits // 32) == info.shape[1]]
    stated = sought.stated_number("num_bits")
    want(bool(fitting), f"{list(shape)} does not fit {info.shape[1]:,} words in a row")
    want(len(fitting) == 1 or stated in fitting or fitting[0] in (4, 8), "its bits are stated nowhere")
    bits = stated if stated in fitting else fitting[0]
    assert bits is not None
    want_floats(scale)
    want(scale.ndim == 2 and scale.shape[0] == shape[0] and scale.shape[1] > 0, _unfit(scale, info))
    groups = scale.shape[1]
    group = _group(sought, shape[1], groups)
    zero, order = sought.find(f"{name}_zero_point"), sought.find(f"{name}_g_idx")
    if zero is not None:
        fits = sought.need(zero.name).shape == (-(-shape[0] * bits // 32), groups)
        want(fits, f"{zero.name} has shape {list(zero.shape)}")
        want(zero.dtype.name == "int32", f"{zero.name} is {zero.dtype.name}, where words of int32 belong")
    if order is not None:
        want(sought.need(order.name).shape == (shape[1],), f"{order.name} has shape {list(order.shape)}")
        want_integers(order)
    parts = tuple(part for part in (info, scale, sizes, zero, order) if part is not None)
    scheme = PackQuantized(info, scale, zero, order, bits, group)
    method = f"compressed-tensors int{bits}"
    is_grouped = groups > 1 or sought.stated_number("group_size") == group
    return PackedWeight(name, shape, scale.dtype, method, parts, group if is_grouped else None, scheme)


def tell_mlx(sought: Sought, info: TensorInfo) -> PackedWeight | None:
    """``weight`` in unsigned words beside ``scales``, and ``biases`` unless it is a floating format of MX or NV."""
    head = info.name.removesuffix("weight")
    scales, biases = sought.find(f"{head}scales"), sought.find(f"{head}biases")
    if info.dtype.name != "uint32" or info.ndim < 2 or scales is None:
        return None
    sought.need(scales.name)
    want(scales.shape[:-1] == info.shape[:-1] and scales.shape[-1] > 0, _unfit(scales, info))
    bits, group = sought.of_layer(head[:-1])
    words, groups = info.shape[-1], scales.shape[-1]
    if group is None or bits is None:
        way = _AFFINE if biases is not None else _FLOATING
        bits, group = _only_way(32 * words // groups if 32 * words % groups == 0 else 0, way)
    # A layer that the configuration forgets to name: then the sizes say so.
    unfit = f"codes of {bits} bits in groups of {group} do not make {words:,} words and {groups:,} scales a row"
    want(32 * words == group * groups * bits and 1 <= bits <= 8, unfit)
    shape = (*info.shape[:-1], group * groups)
    if biases is None:
        mode = _FLOATING.get((bits, group))
        if mode is None or scales.dtype.name != "uint8":
            raise Untold(f"{head}biases is missing")
        floating = MlxMicro(info, scales, bits, group)
        return PackedWeight(info.name, shape, _bfloat16(sought), f"MLX {mode}", (info, scales), group, floating)
    want_floats(scales, biases)
    want(sought.need(biases.name).shape == scales.shape, _unfit(biases, info))
    scheme = Mlx(info, scales, biases, bits, group, scales.dtype)
    parts = (info, scales, biases)
    return PackedWeight(info.name, shape, scales.dtype, f"MLX int{bits}", parts, group, scheme)


_FLOATING = {(4, 32): "mxfp4", (4, 16): "nvfp4", (8, 32): "mxfp8"}
"""The modes of MLX without biases, by the bits of a code and the size of a group."""

_AFFINE = tuple((bits, group) for group in (32, 64, 128) for bits in (8, 6, 5, 4, 3, 2))
"""What mlx.core.quantize takes in its mode with biases."""


def _only_way(product: int, ways: Iterable[tuple[int, int]]) -> tuple[int, int]:
    """The bits of a code and the size of a group, if one way alone makes that product. Raises Untold."""
    fitting = [way for way in ways if way[0] * way[1] == product]
    if len(fitting) == 1:
        return fitting[0]
    either = " or ".join(f"{bits} bits in groups of {group}" for bits, group in fitting)
    shown = f" ({either})" if either else ""
    raise Untold(f"the bits of a code and the size of a group are stated nowhere{shown}")


def _bfloat16(sought: Sought) -> DType:
    found = sought.dtype or from_torch("bfloat16")
    assert found is not None
    return found


def _unfit(scale: TensorInfo, info: TensorInfo) -> str:
    return f"{scale.name} of shape {list(scale.shape)} does not fit codes of {list(info.shape)}"
