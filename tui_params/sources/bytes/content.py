"""A peek into a file, and tests of its content for formats that have no magic number. No reader is imported here."""

from __future__ import annotations

import msgspec

MAX_HEADER_NBYTES = 100_000_000
"""Bytes of the header of a safetensors file: ``MAX_HEADER_SIZE`` of the reference implementation."""

_OLD_TORCH_MEMBERS = (b"sys_info", b"pickle", b"storages", b"tensors")
"""What ``torch.save`` put into a tar before 0.2."""

_TABLE_MAGIC = (0xDB4775248B80FB57).to_bytes(8, "little")
"""The last bytes of an SSTable, which is what the ``.index`` of a TensorFlow checkpoint is."""


class Peek(msgspec.Struct, frozen=True):
    """The first kilobyte of a file (``head``), its last 8 bytes (``tail``), its size in bytes, and its name."""

    head: bytes
    tail: bytes
    size: int
    name: str = ""


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


def is_all_zeros(peek: Peek) -> bool:
    """Whether the first kilobyte holds nothing but zeros."""
    return not peek.head.strip(b"\0")


def is_onnx(peek: Peek) -> bool:
    """Whether the file starts as the ModelProto of onnx.proto does.

    Field 1 (``ir_version``) is a small varint, and field 2 (``producer_name``) a string.
    """
    head = peek.head
    return head[:1] == b"\x08" and b"\0" < head[1:2] < b" " and head[2:3] in (b"\x12", b"\x3a")


def _text(peek: Peek) -> bytes:
    return peek.head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
