"""HDF5 files and Keras archives as a source: datasets by their paths, read where they lie in the file.

h5py lists the datasets, in a process of its own (``listing``), and reads no values: those that lie in one piece are
read in place, those in chunks are put together here (``chunks``).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from math import prod
from pathlib import Path
from typing import Any

import msgspec

from tui_params.core.collector import collector_paused
from tui_params.core.dtypes import from_torch, unknown
from tui_params.core.findings import Finding
from tui_params.core.reading.extent import Extent
from tui_params.core.reading.place import Place
from tui_params.core.source import Listing
from tui_params.core.tensor import TensorInfo, beyond_numpy
from tui_params.core.text import clean, plural, size
from tui_params.errors import OpenError, UnknownFormatError
from tui_params.sources.bytes.array_types import type_of
from tui_params.sources.bytes.extents import ExtentSource
from tui_params.sources.bytes.held import Held
from tui_params.sources.bytes.local import DataFile, Descriptor, opened
from tui_params.sources.bytes.made import LastMade, MadePlace
from tui_params.sources.bytes.zip_directory import STORED, data_offset, read_directory, read_member
from tui_params.sources.hdf5.chunks import KNOWN, MAX_NBYTES, Chunked, assemble
from tui_params.sources.hdf5.served import Served

WEIGHTS = "model.weights.h5"
"""The HDF5 file in a .keras archive (keras/src/saving/saving_lib.py)."""

TIMEOUT = 90.0
_MAX_NUMEL = 1 << 60
_MAX_SMALL = 1 << 20
_FINDINGS = 20
_LISTING = Path(__file__).with_name("listing.py")


class Hdf5Source(ExtentSource):
    """The datasets of one file; those in ``chunked`` are put together when they are read."""

    def __init__(
        self,
        file: DataFile,
        listing: Listing,
        extents: dict[str, Extent],
        held: dict[str, Held],
        chunked: dict[str, Chunked],
    ) -> None:
        super().__init__(file.name, listing, extents, {file.name: file}, held=held)
        self._file = file
        self._chunked = chunked
        self._made = LastMade(assemble)

    def locate(self, info: TensorInfo) -> tuple[Place, Extent]:
        chunked = self._chunked.get(info.name)
        if chunked is None or info.unreadable is not None or self._is_closed:
            return super().locate(info)
        return MadePlace(self._made, self._file, chunked), self.extents[info.name]

    def close(self) -> None:
        super().close()
        self._made.forget()


def open_hdf5(path: Path) -> Hdf5Source:
    """The datasets of an HDF5 file. Raises OpenError."""
    with opened(path) as (descriptor, file), collector_paused():
        return _source(descriptor, file, 0, file.size, "HDF5", {})


def open_keras(path: Path) -> Hdf5Source:
    """The weights of a .keras archive, an uncompressed zip. Raises OpenError."""
    with opened(path) as (descriptor, file), collector_paused():
        directory = read_directory(descriptor, file.size, clean(file.name, 120))
        member = directory.members.get(WEIGHTS)
        if member is None:
            raise UnknownFormatError(f"{clean(file.name, 120)} is a Keras archive without {WEIGHTS} in it")
        if member.method != STORED or member.is_encrypted or member.size != member.compressed:
            raise OpenError(f"{WEIGHTS} in {clean(file.name, 120)} is compressed or encrypted: unpack it and open it")
        begin = data_offset(descriptor, directory, member)
        if begin is None or begin + member.size > directory.stop:
            raise OpenError(f"{WEIGHTS} does not lie where the directory of {clean(file.name, 120)} says")
        texts = {}
        for name in ("metadata.json", "config.json"):
            text = directory.members.get(name)
            if text is not None and text.size <= _MAX_SMALL:
                texts[name] = clean(read_member(descriptor, directory, text).decode("utf-8", "replace"), 2000)
        return _source(descriptor, file, begin, member.size, "Keras", texts)


def _source(
    descriptor: Descriptor, file: DataFile, begin: int, length: int, kind: str, texts: dict[str, str]
) -> Hdf5Source:
    document = _listing_of(descriptor, file, begin, length)
    lister = _Lister(file, begin, length)
    for entry in document["datasets"]:
        lister.add(entry)
    findings = [Finding("error", "bad-entry", None, clean(fault, 300)) for fault in document["faults"]]
    findings += lister.findings
    if not lister.tensors and document["faults"]:
        raise OpenError(f"{clean(file.name, 120)} is an HDF5 file that h5py cannot open: {findings[0].evidence}")
    if len(findings) > _FINDINGS:
        more = f"{len(findings) - _FINDINGS:,} more faults are not shown one by one"
        findings = [*findings[:_FINDINGS], Finding("error", "bad-entry", None, more)]
    metadata = texts | {clean(name, 200): clean(text, 2000) for name, text in document["texts"].items()}
    listing = Listing(kind, tuple(lister.tensors.values()), metadata, findings=tuple(findings))
    return Hdf5Source(file, listing, lister.extents, lister.held, lister.chunked)


def _listing_of(descriptor: Descriptor, file: DataFile, begin: int, length: int) -> dict[str, Any]:
    """What the process that lists prints. Raises OpenError."""
    name = clean(file.name, 120)
    package = find_spec("h5py")
    if package is None or package.origin is None:
        raise OpenError(f"{name} is an HDF5 file, for which h5py is needed: pip install 'tui-params[hdf5]'")
    folder = str(Path(package.origin).parent.parent)
    # Alone (-I): nothing in the folder of the file, and no variable of the environment, is imported.
    served = None if isinstance(descriptor, int) else Served(descriptor.read, file.size)
    end = served.handed_on.fileno() if served is not None else None
    where = str(file.path.absolute()) if end is None else f"@{end}"
    command = [sys.executable, "-I", str(_LISTING), where, str(begin), str(length), folder]
    try:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=_environment(),
            pass_fds=() if end is None else (end,),
        )  # fmt: skip
    except OSError as error:
        raise OpenError(f"{name} cannot be listed: no other process can be started ({error.strerror})") from None
    finally:
        if served is not None:
            served.start()
    with process:
        try:
            output, complaints = process.communicate(timeout=TIMEOUT)
        except subprocess.TimeoutExpired:
            process.kill()
            raise OpenError(f"{name} was not listed by h5py within {TIMEOUT:.0f} seconds") from None
    done = subprocess.CompletedProcess(command, process.returncode, output, complaints)
    if served is not None and served.complaint is not None:
        raise OpenError(f"{name} cannot be read: {served.complaint}")
    if done.returncode < 0:
        raise OpenError(f"{name} is damaged: HDF5's own library ends with signal {-done.returncode} on it")
    if done.returncode:
        last = done.stderr.decode("utf-8", "replace").strip().rpartition("\n")[2]
        raise OpenError(f"{name} cannot be listed by h5py: {clean(last, 200)}")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def _environment() -> dict[str, str]:
    """HDF5 would load plug-ins from where a variable says."""
    return {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH", "SYSTEMROOT") if name in os.environ}


class _Lister:
    """What has been listed so far, of what the other process found."""

    def __init__(self, file: DataFile, begin: int, length: int) -> None:
        self.tensors: dict[str, TensorInfo] = {}
        self.extents: dict[str, Extent] = {}
        self.held: dict[str, Held] = {}
        self.chunked: dict[str, Chunked] = {}
        self.findings: list[Finding] = []
        self._file, self._begin, self._end = file, begin, begin + length

    def add(self, entry: dict[str, Any]) -> None:
        """List one dataset, or another name of one."""
        name = self._free(entry["name"])
        first = self.tensors.get(entry.get("tied_to", ""))
        if first is not None:
            self.tensors[name] = msgspec.structs.replace(first, name=name, tied_to=first.tied_to or first.name)
            self._share(first.name, name)
            return
        if "shape" in entry:
            self._dataset(name, entry)

    def _share(self, first: str, name: str) -> None:
        """Another name has the same elements."""
        self.extents[name] = self.extents[first]
        if first in self.held:
            self.held[name] = self.held[first]
        if first in self.chunked:
            self.chunked[name] = self.chunked[first]

    def _dataset(self, name: str, entry: dict[str, Any]) -> None:
        descr = entry["descr"] if type(entry["descr"]) is str else [tuple(field) for field in entry["descr"]]
        dtype, is_swapped, refusal, notes = type_of(descr)
        bfloat16 = from_torch("bfloat16")
        if entry["named"] == "bfloat16" and entry["itemsize"] == 2 and bfloat16 is not None:
            # Keras names the type in an attribute; HDF5 itself has two bytes without a meaning.
            dtype, refusal, notes = bfloat16, None, ()
        elif descr == "|V2" and refusal is not None:
            # As h5py writes bfloat16, and other types of two bytes.
            refusal += ": two bytes each, of a type that the file does not name (bfloat16?)"
        shape = tuple(entry["shape"])
        numel = prod(shape)
        if numel > _MAX_NUMEL:
            self._fault("bad-entry", name, "its shape has more elements than there can be")
            dtype, shape, numel, refusal = unknown("unknown"), (), 0, "its shape has more elements than there can be"
        nbytes = numel * entry["itemsize"]
        if entry["label"]:
            notes += (f"of the Keras layer {clean(entry['label'], 100)}",)
        offset = entry.get("offset")
        refusal = entry.get("refusal") or refusal or beyond_numpy(len(shape))
        extent = Extent(self._file.name, 0, 0, nbytes, is_swapped=is_swapped)
        if "held" in entry:
            self.held[name] = Held(self._file.name, bytes.fromhex(entry["held"]))
        elif offset is not None and numel:
            offset += self._begin
            extent = Extent(self._file.name, offset, offset, offset + nbytes, is_swapped=is_swapped)
            if offset + nbytes > self._end:
                refusal = f"it ends at byte {offset + nbytes:,}, and the file at {self._end:,}"
                self._fault("storage-bounds", name, refusal)
        elif numel and "chunks" in entry:
            notes += self._chunks(name, entry, shape)
            refusal = refusal or _refusal_of_chunks(entry, nbytes)
        elif numel:
            refusal = refusal or "the file does not say where its values lie"
        self.extents[name] = extent
        # A place in the file has the elements as they are.
        place = offset if offset is not None and numel and not is_swapped else None
        self.tensors[name] = TensorInfo(
            name, shape, dtype, numel, nbytes, "tensor", self._file.name, place, unreadable=refusal, notes=notes
        )

    def _chunks(self, name: str, entry: dict[str, Any], shape: tuple[int, ...]) -> tuple[str, ...]:
        """Keep the chunks of a dataset; what there is to note of them."""
        filters = tuple([number for number, _, _ in entry["filters"]])
        chunked = {
            "shape": shape, "itemsize": entry["itemsize"], "chunk": entry["chunk"], "chunks": entry["chunks"],
            "filters": filters, "fill": b"", "offset": self._begin,
        }  # fmt: skip
        made = msgspec.convert(chunked, Chunked)
        self.chunked[name] = msgspec.structs.replace(made, fill=bytes.fromhex(entry["fill"]))
        if not entry["chunks"]:
            return ("never written: all elements have the fill value",)
        names = ", ".join(clean(text, 40) for _, _, text in entry["filters"])
        return (f"{plural(len(entry['chunks']), 'chunk')}{', ' if names else ''}{names}",)

    def _free(self, name: str) -> str:
        free, number = name, 2
        while free in self.tensors:
            free, number = f"{name}~{number}", number + 1
        return free

    def _fault(self, rule: str, name: str, evidence: str) -> None:
        self.findings.append(Finding("error", rule, name, evidence))


def _refusal_of_chunks(entry: dict[str, Any], nbytes: int) -> str | None:
    """Why a dataset in chunks cannot be put together; None if it can."""
    other = [clean(text, 60) or str(number) for number, _, text in entry["filters"] if number not in KNOWN]
    if other:
        return f"its chunks are packed by the filter {other[0]}, which is not read here"
    chunk = prod(entry["chunk"]) * entry["itemsize"]
    if max(nbytes, chunk) > MAX_NBYTES:
        return f"it is in chunks, of {size(max(nbytes, chunk))}: at most {size(MAX_NBYTES)} are put together in memory"
    return None
