"""NPY: one array in a file, as numpy.save writes it."""

from __future__ import annotations

from pathlib import Path

from tui_params.core.findings import Finding
from tui_params.core.source import Listing
from tui_params.core.text import clean, plural, shape
from tui_params.errors import OpenError
from tui_params.sources.bytes.extents import ExtentSource
from tui_params.sources.bytes.local import opened, read_bytes
from tui_params.sources.numpy_save.header import MAGIC, Header, describe, read_header, text_fault, text_type

NAME = "array"
"""What the array is called, which has no name: the same in every file, so that two files can be compared."""

FIRST_READ = 1024


def open_npy(path: Path) -> ExtentSource:
    """The array of an NPY file. Raises OpenError."""
    with opened(path) as (descriptor, file):
        try:
            found = read_header(read_bytes(descriptor, 0, FIRST_READ))
            if type(found) is int:
                found = read_header(read_bytes(descriptor, 0, found))
            if not isinstance(found, Header):
                raise OpenError("it ends inside its header: it is truncated")
            text = text_type(found.descr)
            if text is not None:
                fault = text_fault(found, file.size - found.nbytes)
                findings: tuple[Finding, ...] = ()
                if fault is not None:
                    findings = (Finding("error", "storage-bounds", None, fault),)
                metadata = {NAME: f"texts or dates of type {text}, {shape(found.shape[:8])}"}
                listing = Listing("NPY", (), metadata, findings=findings)
                return ExtentSource(path.name, listing, {}, {file.name: file})
            available = file.size - found.nbytes
            info, extent = describe(found, NAME, file.name, found.nbytes, available)
        except OpenError as error:
            raise OpenError(f"{clean(file.name, 120)} is a NumPy array that cannot be read: {error}") from None
        behind = available - info.nbytes
        findings = ()
        if info.dtype.is_sized and behind < 0:
            findings = (Finding("error", "truncated", NAME, info.unreadable or ""),)
        elif info.dtype.is_sized and behind:
            # numpy.save may be called several times with one open file.
            is_array = read_bytes(descriptor, found.nbytes + info.nbytes, len(MAGIC)) == MAGIC
            more = ": another array starts there" if is_array else ""
            evidence = f"{plural(behind, 'byte')} after the end of the array were not read{more}"
            findings = (Finding("warning" if is_array else "error", "trailing-bytes", None, evidence),)
    return ExtentSource(path.name, Listing("NPY", (info,), findings=findings), {NAME: extent}, {file.name: file})
