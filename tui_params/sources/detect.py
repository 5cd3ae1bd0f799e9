"""Which reader a path belongs to: told by the first bytes alone, because extensions lie."""

from __future__ import annotations

import os
from pathlib import Path
from stat import S_ISDIR

from tui_params.core.source import Source
from tui_params.core.text import clean, size
from tui_params.errors import OpenError, UnknownFormatError
from tui_params.sources.bytes.local import DataFile, opened, read_bytes, reason
from tui_params.sources.safetensors.reader import MAX_HEADER_NBYTES, open_safetensors

HEAD_NBYTES = 1024

_OTHER_MAGICS: tuple[tuple[int, bytes, str], ...] = (
    (0, b"GGUF", "a GGUF file"),
    (0, b"\x93NUMPY", "a NumPy array (.npy)"),
    (0, b"\x89HDF\r\n\x1a\n", "an HDF5 file (Keras weights?)"),
    (0, b"\x1f\x8b", "compressed with gzip: decompress it first"),
    (0, b"\x28\xb5\x2f\xfd", "compressed with zstd: decompress it first"),
    (0, b"BZh", "compressed with bzip2: decompress it first"),
    (0, b"\xfd7zXZ\x00", "compressed with xz: decompress it first"),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7z archive: unpack it first"),
    (0, b"\x7fELF", "a compiled program or library"),
    (0, b"%PDF", "a PDF document"),
    (0, b"PAR1", "a Parquet file"),
    (4, b"TFL3", "a TensorFlow Lite model"),
    (257, b"ustar", "a tar archive: unpack it first"),
)

_OLD_TORCH_MEMBERS = (b"sys_info", b"pickle", b"storages", b"tensors")
"""What ``torch.save`` put into a tar before 0.2; the reader of such files says what to do with them."""

_TABLE_MAGIC = (0xDB4775248B80FB57).to_bytes(8, "little")
"""The last bytes of an SSTable, which is what the ``.index`` of a TensorFlow checkpoint is."""


def open_path(path: str | os.PathLike[str]) -> Source:
    """The source at ``path``: a checkpoint file, a folder of them, or the index file of such a folder.

    ``~`` is expanded. Raises OpenError, and UnknownFormatError where no reader recognises the bytes.
    """
    given = os.fspath(path)
    if isinstance(given, bytes):
        given = os.fsdecode(given)
    shown = clean(given, 200)
    if not given:
        raise OpenError("the path is empty")
    try:
        full = Path(given).expanduser()
        mode = os.stat(full).st_mode
    except (FileNotFoundError, NotADirectoryError):
        if os.path.islink(full):
            target = clean(os.readlink(full), 200)
            raise OpenError(f"{shown} is a symbolic link to {target}, which does not exist") from None
        raise OpenError(f"no such file or folder: {shown}") from None
    except OSError as error:
        raise OpenError(f"{shown} cannot be opened: {reason(error)}") from None
    except (ValueError, RuntimeError) as error:
        # A null byte in the path; a "~user" that does not exist.
        raise OpenError(f"{shown} is no path: {clean(str(error), 120)}") from None
    from tui_params.sources.folder.folder import is_index, open_folder

    if S_ISDIR(mode):
        return open_folder(full)
    if is_index(full):
        return open_folder(full.absolute().parent, full.name)
    return open_file(full)


def open_file(path: Path) -> Source:
    """The source in one regular file. Raises OpenError, UnknownFormatError."""
    with opened(path) as (descriptor, file):
        head = read_bytes(descriptor, 0, HEAD_NBYTES)
        tail = read_bytes(descriptor, max(file.size - 8, 0), 8)
    name = clean(file.name, 120)
    if not head:
        raise OpenError(f"{name} is empty (0 bytes)")
    if is_safetensors(head):
        return open_safetensors(path)
    if is_torch(head):
        from tui_params.sources.torch_save.zip import open_torch

        return open_torch(path)
    raise UnknownFormatError(f"{name} {_name_other(head, tail, file)}")


def is_safetensors(head: bytes) -> bool:
    """Whether a file that starts so is meant to be safetensors, however damaged."""
    if head[8:10] in (b'{"', b"{}"):
        return True
    return int.from_bytes(head[:8], "little") <= MAX_HEADER_NBYTES and head[8:].lstrip(b" \t\r\n").startswith(b"{")


def is_torch(head: bytes) -> bool:
    """Whether a file that starts so is for the reader of ``torch.save``: a zip, or a pickle of protocol 2 to 5."""
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return not _is_npz(head)
    if head[257:262] == b"ustar":
        return head[:100].rstrip(b"\0") in _OLD_TORCH_MEMBERS
    return head.startswith((b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05"))


def _is_npz(head: bytes) -> bool:
    length = int.from_bytes(head[26:28], "little")
    return head[30 : 30 + length].endswith(b".npy")


def is_lfs_pointer(head: bytes) -> bool:
    """Whether it is the text that Git LFS keeps in place of a large file."""
    return head.startswith(b"version https://git-lfs")


def _name_other(head: bytes, tail: bytes, file: DataFile) -> str:
    """What a file is that no reader here opens, as the end of a sentence."""
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if is_lfs_pointer(head):
        return "is a Git LFS pointer, not the weights: run git lfs pull"
    if text.startswith((b"<!doctype html", b"<html", b"<head")):
        return "is a web page, not a checkpoint: the download failed"
    if text.startswith((b"<?xml", b"<error")):
        return "is an XML document, not a checkpoint: the download failed?"
    if head.startswith(b"PK") and _is_npz(head):
        return "is a NumPy archive (.npz); this format cannot be opened yet"
    for offset, magic, what in _OTHER_MAGICS:
        if head[offset:].startswith(magic):
            return f"is {what}" if ":" in what else f"is {what}; this format cannot be opened yet"
    if tail == _TABLE_MAGIC:
        return "is the index of a TensorFlow checkpoint; this format cannot be opened yet"
    if text[:1] == b"{":
        return "is a JSON document, not a checkpoint"
    if not head.strip(b"\x00"):
        return f"starts with zeros ({size(file.size)} in all): it was never written, or its download is not finished"
    # ModelProto of onnx.proto: field 1 (ir_version) is a small varint, field 2 (producer_name) a string.
    if head[:1] == b"\x08" and b"\0" < head[1:2] < b" " and head[2:3] in (b"\x12", b"\x3a"):
        return "looks like an ONNX model; this format cannot be opened yet"
    return f"is in no format that is known here ({size(file.size)}, the first bytes are {head[:8].hex(' ')})"
