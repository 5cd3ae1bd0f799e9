"""Arrays in numpy's own files (NEP 1), read whole to fill a tensor with; no pickle is ever loaded."""

from __future__ import annotations

import os
from typing import NamedTuple

from tui_params.core import dtypes
from tui_params.core.text import clean
from tui_params.errors import EditError


class Array(NamedTuple):
    """Row-major elements in native byte order; ``dtype`` is torch's name of their type."""

    shape: tuple[int, ...]
    dtype: str
    data: bytes


def read_npy(path: str, most_nbytes: int) -> Array:
    """The array in a file of at most so many bytes. Raises EditError."""
    import numpy as np

    path = os.path.expanduser(path)
    shown = clean(path, 200)
    try:
        if not os.path.isfile(path):
            raise EditError(f"there is no tensor and no file named {shown}")
        with open(path, "rb") as file:
            version = np.lib.format.read_magic(file)
            read_header = np.lib.format.read_array_header_1_0
            if version != (1, 0):
                read_header = np.lib.format.read_array_header_2_0
            shape, is_fortran, dtype = read_header(file)
            if dtype.hasobject or dtype.names or dtypes.from_torch(dtype.name) is None:
                raise EditError(f"{shown} holds elements of the type {dtype}, which no tensor has")
            nbytes = dtype.itemsize
            for size in shape:
                nbytes *= size
            if nbytes > most_nbytes:
                raise EditError(f"{shown} holds {nbytes:,} bytes; an edit takes at most {most_nbytes:,}")
            data = file.read(nbytes)
    except OSError as error:
        raise EditError(f"{shown} cannot be read: {error.strerror or error}") from error
    except ValueError as error:
        raise EditError(f"{shown} is not a .npy file that can be read: {clean(str(error), 120)}") from error
    if len(data) != nbytes:
        raise EditError(f"{shown} ends early: {len(data):,} of {nbytes:,} bytes are there")
    array = np.frombuffer(data, dtype).reshape(shape, order="F" if is_fortran else "C")
    native = np.ascontiguousarray(array, dtype.newbyteorder("="))
    return Array(tuple(shape), dtype.name, native.tobytes())
