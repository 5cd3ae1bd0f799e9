"""Archives beyond torch.save's own: compiled models (AOTInductor) and the tar of torch before 0.2."""

from __future__ import annotations

import io
import pickle
import struct
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray

HASH = "c7oslguknei2v4cjnwyn2eryfrxm4rndvet65zesavf7a75f7ld6"
"""A name as AOTInductor makes them."""

State = Mapping[str, "torch.Tensor"]


def wrapper_text(state: State, *, is_included: bool = False, folded: Sequence[str] = (), align: bool = True) -> str:
    """The C++ text of a wrapper as far as it describes constants: torch/_inductor/codegen/cpp_wrapper_cpu.py."""
    lines = [
        "#include <torch/csrc/inductor/aoti_runtime/model.h>",
        "    : AOTInductorModelBase(1,",
        "                           1,",
        f"                           {len(state)},",
        "                           device_str,",
        "                           std::move(cubin_dir),",
        f"                           {'true' if is_included else 'false'}) {{",
        '    inputs_info_[0].name = "arg11_1";',
    ]
    for number, (name, tensor) in enumerate(state.items()):
        nbytes = tensor.untyped_storage().nbytes()
        kind = "Parameter" if isinstance(tensor, torch.nn.Parameter) else "Buffer"
        fields = {
            "name": f'"{name.replace(".", "_")}"',
            "dtype": f"cached_torch_dtype_{str(tensor.dtype).removeprefix('torch.')}",
            "device_type": "cached_torch_device_type_cpu",
            "offset": tensor.storage_offset(),
            "data_size": -(-nbytes // 64) * 64 if align else nbytes,
            "from_folded": "true" if name in folded else "false",
            "type": f"static_cast<int32_t>(torch::aot_inductor::ConstantType::{kind})",
            "shape": "{" + ", ".join(map(str, tensor.shape)) + "}",
            "stride": "{" + ", ".join(map(str, tensor.stride())) + "}",
            "layout": "static_cast<int32_t>(cached_torch_layout_strided)",
            "original_fqn": f'"{name}"',
        }
        lines += [f"    constants_info_[{number}].{key} = {value};" for key, value in fields.items()]
    return "\n".join([*lines, "    update_constants_map(std::move(constants_map));", "}", ""])


def blob_of(state: State, folded: Sequence[str] = ()) -> bytes:
    """The constants one after the other, each padded to 64 bytes: torch/_inductor/codecache.py."""
    data = bytearray()
    for name, tensor in state.items():
        if name not in folded:
            data += bytes(tensor.detach().untyped_storage())
            data += bytes(-len(data) % 64)
    return bytes(data)


def write_compiled(path: Path, members: Mapping[str, bytes]) -> Path:
    """A ``.pt2`` with these members, written by torch's own writer of archives."""
    from torch.export.pt2_archive._package import PT2ArchiveWriter

    with PT2ArchiveWriter(str(path)) as archive:
        for name, data in members.items():
            archive.write_bytes(name, data)
    return path


def write_pickled_weights(path: Path, models: Mapping[str, State]) -> Path:
    """A ``.pt2`` whose weights are pickled one by one, packed by torch as AOTInductor has it do."""
    from torch.export.pt2_archive._package import package_pt2
    from torch.export.pt2_archive._package_weights import TensorProperties, Weights

    files: dict[str, list[Any]] = {}
    folder = path.parent / f"{path.stem}-files"
    for model, state in models.items():
        (folder / model).mkdir(parents=True)
        text, library = folder / model / f"{HASH}.wrapper.cpp", folder / model / f"{HASH}.wrapper.so"
        text.write_text(wrapper_text(state))
        library.write_bytes(b"\x7fELF" + bytes(60))
        weights = Weights({name: (tensor, TensorProperties(tensor)) for name, tensor in state.items()})
        files[model] = [str(text), str(library), weights]
    package_pt2(str(path), aoti_files=files)
    return path


_STORAGES = {
    torch.float32: "FloatStorage",
    torch.float64: "DoubleStorage",
    torch.float16: "HalfStorage",
    torch.int64: "LongStorage",
    torch.int32: "IntStorage",
    torch.uint8: "ByteStorage",
}


class TarWriter:
    """Writes what torch.save wrote before 0.2, read off torch.serialization's ``legacy_load``.

    ``views`` are names of tensors whose storage is written as a part of that of another: (offset, numel).
    """

    def __init__(self, state: Mapping[str, Any], views: Mapping[str, tuple[str, int, int]] | None = None) -> None:
        self.state = state
        self.views = views or {}
        self.protocol = 2

    def members(self) -> dict[str, bytes]:
        """The four members."""
        tensors = {name: value for name, value in self.state.items() if isinstance(value, torch.Tensor)}
        keys: dict[int, int] = {}
        roots, rows, view_rows = bytearray(), bytearray(), []
        for number, (name, tensor) in enumerate(tensors.items()):
            storage = tensor.untyped_storage()
            key = keys.get(storage.data_ptr())
            if name in self.views:
                whole, offset, numel = self.views[name]
                key = 5_000 + number
                view_rows.append((key, keys[tensors[whole].untyped_storage().data_ptr()], offset, numel))
            elif key is None:
                key = keys[storage.data_ptr()] = 140_000_000_000_000 + number
                roots += self._row(key, "cpu", f"torch\n{_STORAGES[tensor.dtype]}")
                roots += struct.pack("<q", storage.nbytes() // tensor.itemsize) + bytes(storage)
            start = 0 if name in self.views else tensor.storage_offset()
            rows += self._row(number + 1, key, "torch\nFloatTensor")
            rows += struct.pack("<i", tensor.ndim) + bytes(4)
            rows += struct.pack(f"<{2 * tensor.ndim}q", *tensor.shape, *tensor.stride()) + struct.pack("<q", start)
        count = len(keys)
        ids = {id(tensor): number + 1 for number, tensor in enumerate(tensors.values())}
        return {
            "sys_info": pickle.dumps(
                {"protocol_version": 1000, "little_endian": True, "type_sizes": {"short": 2, "int": 4, "long": 4}},
                self.protocol,
            ),
            "pickle": self._dump(ids),
            "storages": pickle.dumps(count, self.protocol) + bytes(roots) + pickle.dumps(view_rows, self.protocol),
            "tensors": pickle.dumps(len(tensors), self.protocol) + bytes(rows),
        }

    def write(self, path: Path, replaced: Mapping[str, bytes] | None = None) -> Path:
        members = self.members() | dict(replaced or {})
        with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as archive:
            for name, data in members.items():
                info = tarfile.TarInfo(name)
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
        return path

    def _row(self, one: int, two: Any, cls: str) -> bytes:
        """The pickle of (one, two, class)."""
        body = pickle.dumps((one, two), 2)[2:-1]
        # Without the tuple of two that ends it: its items stand on the stack.
        body = body[: body.rindex(b"\x86")]
        return b"\x80\x02" + body + b"c" + cls.encode() + b"\n\x87."

    def _dump(self, ids: Mapping[int, int]) -> bytes:
        buffer = io.BytesIO()

        class Pickler(pickle.Pickler):
            def persistent_id(self, value: Any) -> Any:
                return str(ids[id(value)]) if isinstance(value, torch.Tensor) else None

        Pickler(buffer, self.protocol).dump(dict(self.state))
        return buffer.getvalue()


def equal(values: NDArray[Any], tensor: torch.Tensor) -> bool:
    """Whether an array is bit for bit what torch has."""
    expected = tensor.detach().contiguous()
    raw = expected.reshape(-1).view(torch.uint8).numpy().tobytes() if expected.numel() else b""
    return values.shape == tuple(expected.shape) and values.tobytes() == raw
