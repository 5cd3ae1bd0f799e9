"""Tells weights whose codes lie in bytes: bitsandbytes nf4 and fp4, NVFP4 and MXFP4, gpt-oss, quanto, HQQ."""

from __future__ import annotations

from math import prod

import msgspec

from tui_params.core.dtypes import DType, from_torch
from tui_params.core.packed.bitsandbytes import FourBit, Nested
from tui_params.core.packed.grid import ScaleGrid
from tui_params.core.packed.micro import GptOss, Micro
from tui_params.core.packed.parted import Hqq, PairedRows, Quanto
from tui_params.core.packed.sought import Sought, Untold, is_float, is_power, want, want_floats
from tui_params.core.packed.weight import PackedWeight
from tui_params.core.tensor import MAX_NDIM, TensorInfo

_STATE = ".quant_state.bitsandbytes__"
_GROUPS_OF_QUANTO = (128, 96, 64, 32)
"""What quanto takes for a group, the first that divides the inputs (tensor/weights/qbits.py)."""

_PARTS_OF_HQQ = {
    "8bit_u8": (0,),
    "4bit_u8": (4, 0),
    "2bit_u8": (6, 4, 2, 0),
    "1bit_u8": tuple(range(7, -1, -1)),
    "3bit_32": tuple(range(27, -1, -3)),
}
"""The shifts of the parts of a word by the name of the packing: hqq/core/bitpack.py."""


_MORE_OF_HQQ = (
    "unpack_view_dtype", "view_as_float", "quant_scale", "quant_zero", "compute_dtype", "offload_meta",
    "encoded_state_dict", "stores_quant_config", "channel_wise", "optimize", "round_zero",
)  # fmt: skip
"""What HQQLinear.state_dict says beside, as text in bytes."""


class _QuantState(msgspec.Struct):
    quant_type: str
    blocksize: int
    shape: list[int]
    dtype: str = "float32"
    nested_blocksize: int = 0
    nested_offset: float = 0.0


def tell_bitsandbytes(sought: Sought, info: TensorInfo) -> PackedWeight | None:
    """``weight`` in bytes beside ``weight.quant_state.bitsandbytes__nf4``, the bytes of a JSON object."""
    text = next((found for kind in ("nf4", "fp4") if (found := sought.find(f"{info.name}{_STATE}{kind}"))), None)
    if text is None:
        return None
    try:
        state = msgspec.json.decode(sought.text(text), type=_QuantState)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise Untold(f"{text.name} is not what bitsandbytes writes: {error}") from error
    shape = tuple(state.shape)
    want(len(shape) <= MAX_NDIM and all(0 < size < 1 << 40 for size in shape), f"{text.name} has no possible shape")
    want(0 < state.blocksize <= 1 << 20, f"{text.name} has blocks of {state.blocksize}")
    numel = prod(shape)
    want(-(-numel // 2) == info.nbytes, f"{text.name} says {list(shape)}, and there are {info.nbytes:,} bytes")
    absmax, values = sought.need(f"{info.name}.absmax"), sought.need(f"{info.name}.quant_map")
    blocks = -(-numel // state.blocksize)
    want_floats(values)
    want(absmax.shape == (blocks,), f"{absmax.name} has shape {list(absmax.shape)} for {blocks:,} blocks")
    want(values.numel == 16, f"{values.name} has {values.numel:,} values, not 16")
    parts, nested = [info, absmax, values], None
    if absmax.dtype.name == "uint8":
        outer = sought.need(f"{info.name}.nested_absmax")
        outer_map = sought.need(f"{info.name}.nested_quant_map")
        want_floats(outer, outer_map)
        want(0 < state.nested_blocksize <= 1 << 20, f"{text.name} has nested blocks of {state.nested_blocksize}")
        many = -(-blocks // state.nested_blocksize)
        want(outer.shape == (many,), f"{outer.name} has shape {list(outer.shape)} for {many:,} blocks of scales")
        want(outer_map.numel == 256, f"{outer_map.name} has {outer_map.numel:,} values, not 256")
        nested = Nested(outer, outer_map, state.nested_blocksize, state.nested_offset)
        parts += [outer, outer_map]
    else:
        want_floats(absmax)
    dtype = from_torch(state.dtype.removeprefix("torch."))
    if dtype is None or dtype.kind != "float":
        raise Untold(f"{text.name} has the type {state.dtype[:40]!r}")
    scheme = FourBit(info, absmax, values, shape, state.blocksize, nested)
    method = f"bitsandbytes {state.quant_type[:10]}{' nested' if nested else ''}"
    return PackedWeight(info.name, shape, dtype, method, (*parts, text), state.blocksize, scheme)


def tell_compressed(sought: Sought, info: TensorInfo) -> PackedWeight | None:
    """``weight_packed`` in bytes: NVFP4 if there is a ``weight_global_scale``, else MXFP4."""
    if info.dtype.name != "uint8" or info.ndim < 2:
        return None
    name = info.name.removesuffix("_packed")
    scale, overall = sought.need(f"{name}_scale"), sought.find(f"{name}_global_scale")
    group = 32 if overall is None else 16
    shape = (*info.shape[:-1], 2 * info.shape[-1])
    want(scale.shape == (*shape[:-1], -(-shape[-1] // group)), _unfit(scale, shape))
    grid = ScaleGrid(scale, (1,) * (len(shape) - 1) + (group,), is_e8m0=overall is None)
    _want_scales(scale, of_mx=overall is None)
    if overall is not None:
        want_floats(overall)
        want(sought.need(overall.name).numel == 1, f"{overall.name} has {overall.numel:,} elements, not 1")
    parts = (info, scale) if overall is None else (info, scale, overall)
    method = f"compressed-tensors {'mxfp4' if overall is None else 'nvfp4'}"
    return PackedWeight(name, shape, _model_type(sought), method, parts, group, Micro(info, grid, overall))


def tell_modelopt(sought: Sought, info: TensorInfo) -> PackedWeight | None:
    """``weight`` in bytes beside ``weight_scale`` in fp8 and ``weight_scale_2``: NVFP4."""
    scale, overall = sought.find(f"{info.name}_scale"), sought.find(f"{info.name}_scale_2")
    if info.dtype.name != "uint8" or info.ndim < 2 or scale is None or overall is None:
        return None
    shape = (*info.shape[:-1], 2 * info.shape[-1])
    want(scale.shape == (*shape[:-1], -(-shape[-1] // 16)), _unfit(scale, shape))
    _want_scales(scale, of_mx=False)
    want_floats(overall)
    want(overall.numel == 1, f"{overall.name} has {overall.numel:,} elements, not 1")
    grid = ScaleGrid(sought.need(scale.name), (1,) * (len(shape) - 1) + (16,))
    scheme = Micro(info, grid, sought.need(overall.name), "multiply")
    parts = (info, scale, overall)
    return PackedWeight(info.name, shape, _model_type(sought), "modelopt nvfp4", parts, 16, scheme)


def tell_modelopt_awq(sought: Sought, info: TensorInfo) -> PackedWeight | None:
    """``weight`` in bytes of two rows each, beside ``weight_scale`` of all rows and perhaps ``pre_quant_scale``."""
    scale, overall = sought.find(f"{info.name}_scale"), sought.find(f"{info.name}_scale_2")
    if info.dtype.name != "uint8" or info.ndim != 2 or scale is None or overall is not None or not is_float(scale):
        return None
    shape = 2 * info.shape[0], info.shape[1]
    groups = scale.shape[-1] if scale.ndim == 2 else 0
    group = sought.group(shape[1], groups) if groups > 0 and scale.shape[0] == shape[0] else None
    if group is None:
        raise Untold(_unfit(scale, shape))
    inputs = sought.find(f"{info.name.removesuffix('weight')}pre_quant_scale")
    parts = [info, sought.need(scale.name)]
    if inputs is not None:
        want(sought.need(inputs.name).shape == (shape[1],), _unfit(inputs, shape))
        want_floats(inputs)
        parts.append(inputs)
    scheme = PairedRows(info, ScaleGrid(scale, (1, group)), inputs)
    return PackedWeight(info.name, shape, _model_type(sought), "modelopt int4 AWQ", tuple(parts), group, scheme)


def tell_gpt_oss(sought: Sought, info: TensorInfo) -> PackedWeight | None:
    """``..._blocks`` of bytes in 16s beside ``..._scales``."""
    name = info.name.removesuffix("_blocks")
    scales = sought.find(f"{name}_scales")
    if info.dtype.name != "uint8" or info.ndim < 3 or info.shape[-1] != 16 or scales is None:
        return None
    *leading, outputs, groups = info.shape[:-1]
    want(scales.shape == info.shape[:-1], _unfit(scales, info.shape))
    _want_scales(scales, of_mx=True)
    shape = (*leading, groups * 32, outputs)
    scheme = GptOss(info, sought.need(scales.name))
    return PackedWeight(name, shape, _model_type(sought), "gpt-oss mxfp4", (info, scales), 32, scheme)


def tell_quanto(sought: Sought, info: TensorInfo) -> PackedWeight | None:
    """``weight._data._data`` in bytes beside ``_scale`` and ``_shift`` of each group."""
    name = info.name.removesuffix("._data._data")
    scale, shift = sought.need(f"{name}._scale"), sought.need(f"{name}._shift")
    want(info.dtype.name == "uint8" and info.ndim == 2, f"its codes are {info.dtype.name} of {list(info.shape)}")
    want_floats(scale, shift)
    rows, group = scale.numel, info.shape[1]
    want(scale.shape == shift.shape == (rows, 1), f"{scale.name} and {shift.name} are not one column each")
    bits = next((bits for bits in (4, 2) if -(-rows * bits // 8) == info.shape[0]), 0)
    want(bits > 0, f"{scale.name} has {rows:,} rows, and the codes {info.shape[0]:,}")
    shape = rows, group
    if group in _GROUPS_OF_QUANTO:
        bias = sought.find(f"{name.removesuffix('weight')}bias")
        # Without a bias nothing in the file tells how many groups make a row.
        if bias is None or bias.ndim != 1 or not bias.numel or rows % bias.numel:
            raise Untold(f"its shape is stated nowhere: {rows:,} groups of {group} may be rows of any multiple of it")
        shape = bias.numel, rows // bias.numel * group
    parts = (info, scale, shift)
    scheme = Quanto(info, scale, shift, bits, shape, scale.dtype)
    return PackedWeight(name, shape, scale.dtype, f"quanto int{bits}", parts, group, scheme)


def tell_hqq(sought: Sought, info: TensorInfo) -> PackedWeight | None:
    """``W_q`` beside ``scale``, ``zero`` and small tensors that state how it is packed."""
    head = info.name.removesuffix("W_q")
    scale, zero = sought.need(f"{head}scale"), sought.need(f"{head}zero")
    small = {key: sought.need(f"{head}{key}") for key in ("shape", "nbits", "group_size", "axis", "packing")}
    shape = tuple(sought.numbers(small["shape"]))
    bits, axis = (sought.numbers(small[key])[:1] for key in ("nbits", "axis"))
    packing = sought.text(small["packing"]).decode("ascii", "replace")
    shifts = _PARTS_OF_HQQ.get(packing)
    if shifts is None:
        raise Untold(f"its packing {packing[:20]!r} is not known")
    want(len(shape) == 2 and all(0 < size < 1 << 40 for size in shape), f"{head}shape is {list(shape)[:8]}")
    is_possible = bits in ([1], [2], [3], [4], [8]) and axis in ([0], [1]) and info.ndim == 2
    want(is_possible, "its bits or its axis are impossible")
    want(is_float(scale) and is_float(zero), f"{scale.name} is {scale.dtype.name}: it is packed itself")
    numel, width = prod(shape), info.shape[1]
    rows = numel // width if numel % width == 0 else 0
    want(
        0 < rows <= info.shape[0] * len(shifts), f"{list(shape)} does not fit {info.shape[0]:,} packed rows of {width}"
    )
    groups = (rows, 1) if axis[0] else (1, width)
    want(scale.shape == zero.shape == groups, f"{scale.name} has shape {list(scale.shape)}, not {list(groups)}")
    more = [found for key in _MORE_OF_HQQ if (found := sought.find(f"{head}{key}")) is not None]
    is_viewed = any(found.name.endswith(".view_as_float") and sought.text(found) == b"True" for found in more)
    want(not is_viewed, "its codes are stored as if they were floats")
    parts = (info, scale, zero, *small.values(), *more)
    scheme = Hqq(info, scale, zero, bits[0], axis[0], shape, shifts, scale.dtype)
    group = width if axis[0] else rows
    return PackedWeight(f"{head}weight", shape, scale.dtype, f"HQQ int{bits[0]}", parts, group, scheme)


def _model_type(sought: Sought) -> DType:
    """The type of the model, else bfloat16, which the writers of these formats restore to."""
    found = sought.dtype or from_torch("bfloat16")
    assert found is not None
    return found


def _want_scales(scale: TensorInfo, *, of_mx: bool) -> None:
    """Raises Untold unless scales of groups are powers of two (of MX formats), else fp8 (of NVFP4)."""
    fits = is_power(scale) if of_mx else scale.dtype.name == "float8_e4m3fn"
    want(fits, f"{scale.name} is {scale.dtype.name}, where {'uint8' if of_mx else 'float8_e4m3fn'} belongs")


def _unfit(scale: TensorInfo, shape: tuple[int, ...]) -> str:
    return f"{scale.name} of shape {list(scale.shape)} does not fit codes for {list(shape)}"
