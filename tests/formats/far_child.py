"""The child process in which the libraries of the formats beside torch read damaged files; run as a script.

Each line of stdin is a JSON object ``{"path", "how"}``, each line of stdout the answer, as that of
``tests/library_child.py``: ``refusal`` (a sentence, or null) and ``tensors`` as [name, dtype, shape, digest of the
values]. ``how`` is ``npy``, ``npz``, ``gguf``, ``onnx`` or ``hdf5``. No pickle is read.
"""

from __future__ import annotations

import hashlib
import json
import os
import resource
import sys
import warnings
from collections.abc import Iterator
from importlib import import_module
from typing import Any

MEMORY = 3 << 30
"""Bytes of address space."""

LARGE = 1 << 22
"""A tensor of more elements is compared by its shape alone."""


def digest(values: Any) -> str:
    """A digest of an array's values, whatever type of the same kind they are held in; empty for a large one."""
    import numpy as np

    values = np.asarray(values)
    if values.size > LARGE:
        return ""
    if values.dtype.kind in "SUOMm":
        return "other"
    if values.dtype.names is not None or (values.dtype.kind == "V" and values.dtype.isbuiltin == 0):
        return "other"
    if values.dtype.kind in "biu":
        # A truth value is true whatever bits its byte has.
        values = values.view(np.uint8) != 0 if values.dtype.kind == "b" and values.ndim else values
        plain = values.astype(np.int64)
    else:
        with np.errstate(all="ignore"):
            wide = values.astype(np.complex128) if values.dtype.kind == "c" else values.astype(np.float64)
        plain = np.ascontiguousarray(wide).reshape(-1).view(np.float64)
        # Which NaN it is may change on the way.
        plain = np.where(np.isnan(plain), np.nan, plain)
    return hashlib.blake2b(np.ascontiguousarray(plain).tobytes(), digest_size=16).hexdigest()


def npy(path: str) -> Iterator[tuple[str, Any]]:
    import numpy as np

    yield "array", np.load(path, allow_pickle=False)


def npz(path: str) -> Iterator[tuple[str, Any]]:
    import numpy as np

    with np.load(path, allow_pickle=False) as archive:
        for name in archive.files:
            value = archive[name]
            if isinstance(value, np.ndarray):
                yield name, value


def gguf(path: str) -> Iterator[tuple[str, Any]]:
    from gguf import GGUFReader
    from gguf.quants import dequantize

    reader = GGUFReader(path)
    for field in reader.fields.values():
        field.contents()
    for tensor in reader.tensors:
        name = tensor.name
        values = tensor.data if tensor.data.dtype.kind != "u" else dequantize(tensor.data, tensor.tensor_type)
        yield name, values


def onnx(path: str) -> Iterator[tuple[str, Any]]:
    package, numpy_helper = import_module("onnx"), import_module("onnx.numpy_helper")
    model = package.load(path)
    for tensor in model.graph.initializer:
        # A name that is no UTF-8 comes as bytes.
        yield tensor.name if isinstance(tensor.name, str) else "\ufffd", numpy_helper.to_array(tensor)


def hdf5(path: str) -> Iterator[tuple[str, Any]]:
    import h5py

    def visit(group: Any, prefix: str, depth: int) -> Iterator[tuple[str, Any]]:
        # Not visititems: it needs pointers between the parts of an index that nothing else does.
        for key in group if depth < 9 else ():
            item = group[key]
            if isinstance(item, h5py.Group):
                yield from visit(item, f"{prefix}{key}.", depth + 1)
            elif isinstance(item, h5py.Dataset) and item.shape is not None:
                yield f"{prefix}{key}", item[()]

    with h5py.File(path, "r") as file:
        yield from visit(file, "", 0)


READERS = {"npy": npy, "npz": npz, "gguf": gguf, "onnx": onnx, "hdf5": hdf5}


def answer(path: str, how: str) -> dict[str, Any]:
    """What the library says of one file."""
    tensors = []
    try:
        for name, value in READERS[how](path):
            tensors.append([name, "", list(value.shape), digest(value)])
    except Exception as error:  # noqa: BLE001 - any error at all is a refusal
        return {"refusal": f"{type(error).__name__}: {error}"[:400]}
    return {"refusal": None, "tensors": tensors, "leaves": [], "is_odd": False}


def main() -> None:
    warnings.simplefilter("ignore")
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    out = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    for line in sys.stdin:
        asked = json.loads(line)
        out.write(json.dumps(answer(asked["path"], asked["how"])) + "\n")
        out.flush()


if __name__ == "__main__":
    main()
