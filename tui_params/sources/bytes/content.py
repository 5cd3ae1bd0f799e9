"""A peek into a file, and tests of its content for formats that have no magic number. No reader is imported here."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

import msgspec

from tui_params.errors import OpenError
from tui_params.sources.bytes.local import opened, read_bytes

MAX_HEADER_NBYTES = 100_000_000
"""Bytes of the header of a safetensors file: ``MAX_HEADER_SIZE`` of the reference implementation."""

_OLD_TORCH_MEMBERS = (b"sys_info", b"pickle", b"storages", b"tensors")
"""What ``torch.save`` put into a tar before 0.2."""

_TABLE_MAGIC = (0xDB4775248B80FB57).to_bytes(8, "little")
"""The last bytes of an SSTable, which is what the ``.index`` of a TensorFlow checkpoint is."""


_HDF5 = b"\x89HDF\r\n\x1a\n"
_LAST_USER_BLOCK = 1 << 30
_PLACES = 64
_AT_ONCE = 4096


class Peek(msgspec.Struct, frozen=True):
    """The first kilobyte of a file (``head``), its size in bytes, and its name.

    ``read`` returns so many bytes at an offset of it, fewer only at its end. ``folder`` is where it lies.
    """

    head: bytes
    size: int
    name: str = ""
    read: Callable[[int, int], bytes] = lambda offset, count: b""
    folder: Path = Path()

    @property
    def tail(self) -> bytes:
        """The last 8 bytes, read when they are asked for: elsewhere they cost a request of their own."""
        return self.read(max(self.size - 8, 0), 8)


def is_safetensors(peek: Peek) -> bool:
    """Whether the file is meant to be safetensors, however damaged it is."""
    head = peek.head
    if head[8:10] in (b'{"', b"{}"):
        return True
    length = int.from_bytes(head[:8], "little")
    return length <= max(MAX_HEADER_NBYTES, peek.size - 8) and head[8:].lstrip(b" \t\r\n").startswith(b"{")


def is_torch(peek: Peek) -> bool:
    """Whether ``torch.save`` may have written the file: a zip, a pickle of any protocol, an old tar of torch."""
    head = peek.head
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return not is_npz(peek)
    if head[257:262] == b"ustar":
        return head[:100].rstrip(b"\0") in _OLD_TORCH_MEMBERS
    if head.startswith((b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")):
        return True
    # Hardly a file is one: its tables are made only when nothing else fits.
    from tui_params.sources.bytes.old_pickle import is_old_pickle

    return is_old_pickle(head, peek.size)


LZ4 = b"\x04\x22\x4d\x18"
"""How a frame of lz4 begins: lz4_Frame_format.md."""


def is_compressed_pickle(peek: Peek) -> bool:
    """Whether the file is a pickle that was compressed whole, as joblib does."""
    if not peek.head.startswith((b"\x78", b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"\x5d\x00\x00", LZ4)):
        return False
    if peek.head.startswith((b"BZh", LZ4)):
        # Nothing comes of them before a block of up to 900,000 bytes or 4 MiB is whole: its name must do.
        is_readable = not peek.head.startswith(LZ4) or find_spec("lz4") is not None
        return is_readable and peek.name.endswith((".joblib", ".pkl", ".pickle"))
    from tui_params.sources.bytes.compressed import compression_of

    return compression_of(peek.head) is not None


def is_distributed_metadata(peek: Peek) -> bool:
    """Whether the file is the pickled list of tensors of a distributed checkpoint (DCP).

    torch/distributed/checkpoint/filesystem.py, ``finish``: a pickle whose first global is the class Metadata.
    """
    return peek.head.startswith(b"\x80") and b"torch.distributed.checkpoint.metadata" in peek.head


def is_distributed_piece(peek: Peek) -> bool:
    """Whether the file is one rank's part of a distributed checkpoint (DCP).

    Only its name tells it from other zips and compressed streams: it is a row of whole torch.save archives, of which
    the first or the last alone would pass for the file.
    """
    return peek.name.endswith(".distcp")


def is_gzipped_tar(peek: Peek) -> bool:
    """Whether the file is compressed with gzip and called as a tar is; only unpacking it would tell."""
    return peek.head.startswith(b"\x1f\x8b") and peek.name.lower().endswith((".nemo", ".tgz", ".tar.gz"))


def is_npz(peek: Peek) -> bool:
    """Whether the file is a zip whose first member is a NumPy array."""
    length = int.from_bytes(peek.head[26:28], "little")
    return peek.head.startswith(b"PK") and peek.head[30 : 30 + length].endswith(b".npy")


def is_zip_of_safetensors(peek: Peek) -> bool:
    """Whether the file is a zip whose first member is a safetensors file, or the index of a pipeline (DDUF)."""
    length = int.from_bytes(peek.head[26:28], "little")
    name = peek.head[30 : 30 + length]
    is_named = name.endswith(b".safetensors") or name == b"model_index.json" or peek.name.endswith(".dduf")
    return peek.head.startswith(b"PK\x03\x04") and is_named


def is_keras(peek: Peek) -> bool:
    """Whether the file is a zip that Keras wrote: its metadata stand first, uncompressed."""
    is_named = peek.name.endswith(".keras") or b'"keras_version"' in peek.head
    return peek.head.startswith(b"PK\x03\x04") and is_named


def is_web_page(peek: Peek) -> bool:
    """Whether the file starts as HTML does."""
    return _text(peek).startswith((b"<!doctype html", b"<html", b"<head"))


def is_xml(peek: Peek) -> bool:
    """Whether the file starts as XML does, or as the error document of an object store."""
    return _text(peek).startswith((b"<?xml", b"<error"))


def is_json(peek: Peek) -> bool:
    """Whether the first character is that of a JSON object."""
    return _text(peek)[:1] == b"{"


def is_tensorflow_index(peek: Peek) -> bool:
    """Whether the file ends as an SSTable does."""
    return peek.tail == _TABLE_MAGIC


def is_tensorflow_data(peek: Peek) -> bool:
    """Whether the file is named as a part of the values of a TensorFlow checkpoint, and the index lies beside it."""
    stem, _, _ = peek.name.rpartition(".data-")
    if not stem:
        return False
    try:
        with opened(peek.folder / f"{stem}.index") as (descriptor, file):
            return read_bytes(descriptor, max(file.size - 8, 0), 8) == _TABLE_MAGIC
    except OpenError:
        return False


def is_all_zeros(peek: Peek) -> bool:
    """Whether the file holds nothing but zeros where it is looked at: its start, its end, and places between."""
    if peek.head.strip(b"\0"):
        return False
    step = max(peek.size // _PLACES, 1)
    return not any(
        peek.read(begin, _AT_ONCE).strip(b"\0") for begin in range(0, peek.size, step)
    ) and not peek.tail.strip(b"\0")


def starts_with_zeros(peek: Peek) -> bool:
    """Whether the first kilobyte holds nothing but zeros, and something else follows."""
    return not peek.head.strip(b"\0")


def is_hdf5(peek: Peek) -> bool:
    """Whether the signature of HDF5 stands at the start, or after a user block of 512 bytes, 1024, 2048 and so on."""
    if peek.head.startswith(_HDF5):
        return True
    at = 512
    while at < min(peek.size, _LAST_USER_BLOCK):
        if peek.read(at, 8) == _HDF5:
            return True
        at *= 2
    return False


def is_tar(peek: Peek) -> bool:
    """Whether the file is a tar archive."""
    return peek.head[257:262] == b"ustar"


def is_ctranslate2(peek: Peek) -> bool:
    """Whether the file is a model of CTranslate2: a version, and the name of its kind of model, which ends in Spec."""
    head = peek.head
    length = int.from_bytes(head[4:6], "little")
    name = head[6 : 6 + length]
    return 0 < int.from_bytes(head[:4], "little") < 100 and 5 < length < 100 and name.endswith(b"Spec\0")


def is_openvino(peek: Peek) -> bool:
    """Whether the file is the graph of an OpenVINO model."""
    text = _text(peek)
    return text.startswith((b"<?xml", b"<net ")) and b"<net " in text and b"version=" in text


def is_openvino_weights(peek: Peek) -> bool:
    """Whether the graph of an OpenVINO model lies beside the file, which has no header of its own."""
    stem, _, suffix = peek.name.rpartition(".")
    if suffix != "bin" or not stem:
        return False
    try:
        with opened(peek.folder / f"{stem}.xml") as (descriptor, _):
            return b"<net " in read_bytes(descriptor, 0, 1024)
    except OpenError:
        return False


def is_flax(peek: Peek) -> bool:
    """Whether the file is a msgpack map of names in which an array of flax comes first: an extension of type 1."""
    from tui_params.sources.bytes.msgpack import has_array

    return has_array(peek.head)


def is_onnx(peek: Peek) -> bool:
    """Whether the file is the ModelProto of onnx.proto: it has a graph (field 7) among its fields."""
    if peek.head[:1] != b"\x08":
        # Field 1, the version of the representation, which no model is without; the lowest field is written first.
        return False
    found = _fields_of(peek)
    return 7 in found and found <= _ONNX_FIELDS


def is_saved_model(peek: Peek) -> bool:
    """Whether the file is a SavedModel of TensorFlow: saved_model.proto has a version (1) and graphs (2)."""
    if not peek.head.startswith(b"\x08\x01\x12"):
        return False
    return peek.name.endswith(".pb") or (not peek.name.endswith(".mlmodel") and _fields_of(peek) == {1, 2})


def is_core_ml(peek: Peek) -> bool:
    """Whether the file is a model of Core ML: a version (1), a description (2), and a kind of model (200 and above)."""
    head = peek.head
    if head[:1] != b"\x08" or not b"\0" < head[1:2] < b"@" or head[2:3] != b"\x12":
        return False
    return peek.name.endswith(".mlmodel") or any(number >= 200 for number in _fields_of(peek))


_ONNX_FIELDS = frozenset({1, 2, 3, 4, 5, 6, 7, 8, 14, 20, 25, 26})
_MOST_FIELDS = 1000


def _fields_of(peek: Peek) -> set[int]:
    """The numbers of the fields of the file as a protobuf message, up to the first that makes no sense."""
    from tui_params.sources.bytes.protobuf import BadMessageError, Bytes, fields

    found: set[int] = set()
    with suppress(BadMessageError):
        for count, field in enumerate(fields(Bytes(peek.read, peek.size), 0, peek.size)):
            found.add(field.number)
            if count > _MOST_FIELDS:
                break
    return found


def _text(peek: Peek) -> bytes:
    return peek.head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
