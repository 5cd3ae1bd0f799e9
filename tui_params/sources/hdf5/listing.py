"""Lists the datasets of an HDF5 file, by h5py, in a process of its own: prints one JSON document.

Run as a script, with the path of the file, the first byte of HDF5 in it and the number of its bytes, and the folder
in which h5py is installed. In place of a path, ``@3`` is a socket through which the bytes are asked for. HDF5's library
is C, and a damaged file may end the process: then only this one. It reads no values but those inside the headers and
short texts, follows no link into another file, and has limits of memory and time. It imports nothing of tui-params.
"""

from __future__ import annotations

import contextlib
import io
import json
import socket
import sys
from typing import Any

MAX_OBJECTS = 500_000
MAX_CHUNKS = 2_000_000
MAX_DEPTH = 64
MAX_TEXT = 2_000
MAX_TEXTS = 1_000
MAX_COMPACT = 1 << 16
MEMORY_NBYTES = 4 << 30
SECONDS = 60


class Asked:
    """A file elsewhere: an offset and a count, of 8 bytes each, bring a length of 8 bytes, -1 for none, and so many."""

    def __init__(self, end: int) -> None:
        self._end = socket.socket(fileno=end)
        self._answers = self._end.makefile("rb")
        self._at = 0

    def seek(self, offset: int) -> None:
        self._at = offset

    def readinto(self, buffer: memoryview) -> int:
        self._end.sendall(self._at.to_bytes(8, "little") + len(buffer).to_bytes(8, "little"))
        length = int.from_bytes(self._answers.read(8), "little", signed=True)
        if length < 0:
            raise OSError("its bytes did not arrive")
        buffer[:length] = self._answers.read(length)
        return length


class Part(io.RawIOBase):
    """Some bytes of a file as a file: the weights inside a .keras archive, or a file elsewhere."""

    def __init__(self, path: str, begin: int, size: int) -> None:
        super().__init__()
        self._file: Any = Asked(int(path[1:])) if path.startswith("@") else open(path, "rb", buffering=0)  # noqa: SIM115
        self._begin, self._size, self._at = begin, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        self._at = offset + (0, self._at, self._size)[whence]
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: Any) -> int:
        count = min(len(buffer), max(self._size - self._at, 0))
        self._file.seek(self._begin + self._at)
        done = self._file.readinto(memoryview(buffer)[:count]) or 0
        self._at += done
        return done


class Walk:
    """The datasets, the texts and the links of a file."""

    def __init__(self, h5py: Any) -> None:
        self._h5py = h5py
        self.datasets: list[dict[str, Any]] = []
        self.texts: dict[str, str] = {}
        self.faults: list[str] = []
        self._seen: dict[int, str] = {}
        self._objects = self._chunks = 0

    def group(self, group: Any, path: str, depth: int, label: str) -> None:
        """Everything below one group; ``label`` is the name that Keras gave the layer it belongs to."""
        for name in group:
            self._objects += 1
            if self._objects > MAX_OBJECTS:
                self._fault(f"only the first {MAX_OBJECTS:,} objects are shown")
                return
            full = f"{path}.{name}" if path else name
            try:
                self._link(group, name, full, depth, label)
            except (OSError, RuntimeError, KeyError, ValueError, TypeError, UnicodeError) as error:
                self._fault(f"{full} cannot be opened: {error}")

    def _link(self, group: Any, name: str, full: str, depth: int, label: str) -> None:
        h5py = self._h5py
        link = group.get(name, getlink=True)
        if isinstance(link, h5py.ExternalLink):
            self._text(full, f"a link to {link.path} in the file {link.filename}, which is not opened")
            return
        if isinstance(link, h5py.SoftLink):
            self._text(full, f"a link to {link.path}")
            return
        found = group[name]
        address = h5py.h5o.get_info(found.id).addr
        first = self._seen.setdefault(address, full)
        if isinstance(found, h5py.Dataset):
            if first != full:
                self.datasets.append({"name": full, "tied_to": first})
            else:
                self._dataset(found, full, label)
        elif isinstance(found, h5py.Group):
            if first != full:
                self._text(full, f"the same group as {first}")
            elif depth >= MAX_DEPTH:
                self._fault(f"{full} lies more than {MAX_DEPTH} groups deep")
            else:
                # Keras names the layer at the group of its variables.
                self._attributes(found, full)
                self.group(found, full, depth + 1, _label(found) or label)

    def _dataset(self, found: Any, full: str, label: str) -> None:
        h5py = self._h5py
        plan = found.id.get_create_plist()
        if plan.get_layout() == h5py.h5d.VIRTUAL and _grows(h5py, plan):
            # Its shape, too, is looked up in the files that it is of.
            self._text(full, "a virtual dataset that grows with others, which are not opened")
            return
        if found.shape is None:
            self._text(full, "no values (a null dataspace)")
            return
        dtype = found.dtype
        if dtype.kind in "OSU" or h5py.check_string_dtype(dtype) is not None:
            self._string(found, plan, full)
            return
        entry: dict[str, Any] = {
            "name": full, "shape": list(found.shape), "descr": _descr(h5py, dtype), "label": label,
            "named": _text_of(found.attrs.get("dtype")), "itemsize": int(dtype.itemsize),
            "stored": int(found.id.get_storage_size()),
        }  # fmt: skip
        layout, elsewhere = plan.get_layout(), self._elsewhere(plan)
        if elsewhere is not None:
            entry["refusal"] = elsewhere
        elif layout == h5py.h5d.COMPACT:
            if entry["stored"] <= MAX_COMPACT:
                entry["held"] = found[()].tobytes().hex()
        elif layout == h5py.h5d.CONTIGUOUS and entry["stored"]:
            entry["offset"] = found.id.get_offset()
        else:
            # A dataset that was never written has no place: get_offset() is not None of it in a file with a user block.
            self._chunked(found, plan, entry, is_contiguous=layout == h5py.h5d.CONTIGUOUS)
        self.datasets.append(entry)

    def _chunked(self, found: Any, plan: Any, entry: dict[str, Any], *, is_contiguous: bool) -> None:
        chunks: list[tuple[list[int], int, int, int]] = []
        entry["chunk"] = list(found.shape) if is_contiguous else list(found.chunks)
        entry["filters"] = [_filter(plan.get_filter(at)) for at in range(plan.get_nfilters())]
        fill = found.fillvalue
        entry["fill"] = fill.tobytes().hex() if hasattr(fill, "tobytes") else ""
        entry["chunks"] = chunks
        if is_contiguous:
            return

        def add(info: Any) -> bool | None:
            if self._chunks >= MAX_CHUNKS:
                return True  # stops
            self._chunks += 1
            chunks.append((list(info.chunk_offset), info.filter_mask, info.byte_offset, info.size))
            return None

        found.id.chunk_iter(add)
        if self._chunks >= MAX_CHUNKS:
            entry["refusal"] = f"the file has more than {MAX_CHUNKS:,} chunks"

    def _elsewhere(self, plan: Any) -> str | None:
        """Why the values of a dataset are not read, where the library would open other files for them."""
        if plan.get_external_count():
            return "its values lie in another file, which is not opened"
        if plan.get_layout() == self._h5py.h5d.VIRTUAL:
            return "it is a virtual dataset: its values lie in other datasets"
        return None

    def _string(self, found: Any, plan: Any, full: str) -> None:
        if found.size != 1:
            self._text(full, f"texts, shape {list(found.shape)}")
            return
        elsewhere = self._elsewhere(plan)
        if elsewhere is not None:
            self._text(full, f"a text: {elsewhere}")
            return
        value = _text_of(found[()] if found.shape == () else found[(0,) * len(found.shape)])
        self._text(full, value if value is not None else "an object")

    def _attributes(self, found: Any, full: str) -> None:
        for name in found.attrs:
            if len(self.texts) >= MAX_TEXTS:
                return
            try:
                text = _text_of(found.attrs[name])
            except (OSError, RuntimeError, ValueError, TypeError, UnicodeError):
                continue
            if text is not None:
                self._text(f"{full}@{name}" if full else name, text)

    def root(self, file: Any) -> None:
        self._attributes(file, "")
        self.group(file, "", 0, "")

    def _text(self, name: str, text: str) -> None:
        if len(self.texts) < MAX_TEXTS:
            self.texts[name] = text[:MAX_TEXT] + ("…" if len(text) > MAX_TEXT else "")

    def _fault(self, fault: str) -> None:
        if len(self.faults) < 20:
            self.faults.append(fault)


def _grows(h5py: Any, plan: Any) -> bool:
    """Whether a part of a virtual dataset has no size of its own, but that of the dataset that it is of."""
    for at in range(plan.get_virtual_count()):
        space = plan.get_virtual_vspace(at)
        if space.get_select_type() == h5py.h5s.SEL_HYPERSLABS and space.is_regular_hyperslab():
            _, _, counts, blocks = space.get_regular_hyperslab()
            if h5py.h5s.UNLIMITED in (*counts, *blocks):
                return True
    return False


def _label(group: Any) -> str:
    variables = group.get("vars") if "vars" in group else None
    for owner in (variables, group):
        name = _text_of(owner.attrs.get("name")) if owner is not None else None
        if name:
            return name[:200]
    return ""


def _text_of(value: Any) -> str | None:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return value if isinstance(value, str) else None


def _descr(h5py: Any, dtype: Any) -> Any:
    if dtype.names is not None:
        return [[name, ""] for name in dtype.names[:9]]
    if h5py.check_enum_dtype(dtype) is not None:
        return f"enum of {dtype.str}"
    return dtype.str if not dtype.subdtype else f"array of {dtype.subdtype[0].str}"


def _filter(found: Any) -> tuple[int, list[int], str]:
    number, _, values, name = found
    return int(number), [int(value) for value in values], name.decode("utf-8", "replace")


def main(path: str, begin: int, size: int, packages: str) -> None:
    """Print the listing of the HDF5 file that lies in the ``size`` bytes of ``path`` from ``begin`` on."""
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_NBYTES, MEMORY_NBYTES))
        resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    sys.path.append(packages)
    import h5py

    walk = Walk(h5py)
    try:
        is_plain = begin == 0 and not path.startswith("@")
        whole: Any = path if is_plain else Part(path, begin, size)
        with h5py.File(whole, "r", locking=False) if is_plain else h5py.File(whole, "r") as file:
            walk.root(file)
    except (OSError, RuntimeError, ValueError, KeyError, UnicodeError, MemoryError) as error:
        walk.faults.insert(0, str(error) or type(error).__name__)
    json.dump({"datasets": walk.datasets, "texts": walk.texts, "faults": walk.faults}, sys.stdout)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4])
