"""Archives of torch.export (.pt2): JSON files list the tensors, and each weight is a raw member of the zip.

The layout is that of torch/export/pt2_archive/_package.py; only tensors of subclasses are pickled, each alone.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

import msgspec

from tui_params.core.text import clean
from tui_params.errors import OpenError
from tui_params.sources.bytes.local import Descriptor
from tui_params.sources.bytes.zip_directory import Directory, read_member
from tui_params.sources.inert_pickle.values import Parameter, Storage, Stub, TensorValue, TypedTensor, Unread

MAX_CONFIG_BYTES = 64 << 20

# torch/_export/serde/schema.py, ``ScalarType``.
_SCALAR_TYPES = {
    1: "uint8",
    2: "int8",
    3: "int16",
    4: "int32",
    5: "int64",
    6: "float16",
    7: "float32",
    8: "float64",
    9: "complex32",
    10: "complex64",
    11: "complex128",
    12: "bool",
    13: "bfloat16",
    28: "uint16",
    29: "float8_e4m3fn",
    30: "float8_e5m2",
    31: "float8_e4m3fnuz",
    32: "float8_e5m2fnuz",
    33: "float8_e8m0fnu",
    34: "uint32",
    35: "uint64",
}
_TENSOR = Stub("torch", "Tensor")
_UNTYPED = Stub("torch", "UntypedStorage")


def is_export(directory: Directory, top: str) -> bool:
    """Whether the archive has the lists of weights that torch.export writes since 2.8."""
    return f"{top}/archive_format" in directory.members and bool(_configs(directory, top))


def _configs(directory: Directory, top: str) -> list[tuple[str, str]]:
    """Folder and path of each list of tensors, weights before constants."""
    found = []
    for folder, ending in (("weights", "_weights_config.json"), ("constants", "_constants_config.json")):
        prefix = f"{top}/data/{folder}/"
        found += [(folder, name) for name in directory.members if name.startswith(prefix) and name.endswith(ending)]
    return found


def read_export(
    descriptor: Descriptor,
    directory: Directory,
    top: str,
    open_pickled: Callable[[str], Any],
    compiled: Collection[str],
) -> dict[str, Any]:
    """The tensors by name, as the values that a pickle of them would build. Raises OpenError, OSError.

    ``open_pickled`` returns what the archive at the path of a member builds. ``compiled`` are the paths of members that
    the list of a compiled model names.
    """
    configs = _configs(directory, top)
    models = {name.rpartition("/")[2].rsplit("_", 2)[0] for _, name in configs}
    root: dict[str, Any] = {}
    listed: set[str] = set(compiled)
    for folder, name in configs:
        raw = read_member(descriptor, directory, directory.members[name], MAX_CONFIG_BYTES)
        try:
            config = msgspec.json.decode(raw)
        except (msgspec.MsgspecError, RecursionError, ValueError):
            raise OpenError(f"{clean(name, 120)} is not the JSON that it should be: the archive is damaged") from None
        entries = config.get("config") if type(config) is dict else None
        if type(entries) is not dict:
            raise OpenError(f"{clean(name, 120)} has no list of tensors: the archive is damaged")
        model = f"{name.rpartition('/')[2].rsplit('_', 2)[0]}." if len(models) > 1 else ""
        for key, entry in entries.items():
            root[f"{model}{key}"] = _tensor(entry, folder, directory, top, open_pickled)
            if type(entry) is dict and type(entry.get("path_name")) is str:
                listed.add(f"{top}/data/{folder}/{entry['path_name']}")
    forgotten = _forgotten(directory, top, listed)
    for name in forgotten:
        reason = "it is not in the lists of weights and constants, so its type and shape are unknown"
        root[name.removeprefix(f"{top}/")] = Unread(reason, is_faulty=True)
    return root


def _forgotten(directory: Directory, top: str, listed: set[str]) -> list[str]:
    """The members with weights or constants that no list names."""
    prefixes = (f"{top}/data/weights/", f"{top}/data/constants/")
    return [
        name
        for name, member in directory.members.items()
        if name.startswith(prefixes) and name not in listed and member.size and not name.endswith("_config.json")
    ]


def _tensor(entry: Any, folder: str, directory: Directory, top: str, open_pickled: Callable[[str], Any]) -> Any:
    if type(entry) is not dict:
        return Unread("its entry in the list of the archive is no JSON object", is_faulty=True)
    meta, file = entry.get("tensor_meta"), entry.get("path_name")
    if entry.get("use_pickle") and type(file) is str:
        return open_pickled(f"{top}/data/{folder}/{file}")
    if type(meta) is not dict or type(file) is not str:
        return Unread("the list of the archive gives it no shape")
    key = f"data/{folder}/{file}"
    member = directory.members.get(f"{top}/{key}")
    device = meta.get("device")
    code = meta.get("dtype")
    name = _SCALAR_TYPES.get(code) if type(code) is int else None
    value = TensorValue(
        Storage(_UNTYPED, key, _location(device), member.size if member is not None else 0),
        _integer(meta.get("storage_offset")),
        _integers(meta.get("sizes")),
        _integers(meta.get("strides")),
        meta.get("requires_grad"),
        Stub("torch", name or f"scalar type {code}"),
    )
    if folder == "constants":
        return value
    if entry.get("is_param") is True:
        return Parameter(value, meta.get("requires_grad"))
    return TypedTensor(_TENSOR, value, {"_is_buffer": True})


def _location(device: Any) -> Any:
    if type(device) is not dict:
        return None
    kind, index = device.get("type"), device.get("index")
    return f"{kind}:{index}" if type(index) is int else kind


def _integer(value: Any) -> Any:
    """``{"as_int": 3}`` as 3. A symbolic size is returned unchanged and refused later."""
    return value.get("as_int") if type(value) is dict else value


def _integers(values: Any) -> Any:
    return tuple(_integer(value) for value in values) if type(values) is list else values
