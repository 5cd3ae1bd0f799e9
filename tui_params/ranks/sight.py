"""Sight: what a process sees of the sources, and whether others see the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import NamedTuple

import msgspec

from tui_params.core.kinds import compact_ranges
from tui_params.core.source import Source
from tui_params.core.tensor import TensorInfo
from tui_params.core.text import clean
from tui_params.ranks.wire import Hello, SeenFile

_DIGEST = 16


def hello_of(version: str, sources: Sequence[Source], question: str) -> Hello:
    """What this process sees; ``version`` of tui-params, and as ``question`` whatever else the results depend on."""
    listing = blake2b(digest_size=_DIGEST)
    files: list[SeenFile] = []
    for source in sources:
        tensors = (*source.listing.tensors, *source.listing.gradients.values())
        listing.update(_described(tensors))
        files += _seen(source, tensors)
    asked = blake2b(question.encode("utf-8", "surrogatepass"), digest_size=_DIGEST).digest()
    return Hello(version, listing.digest(), asked, tuple(files))


def _described(tensors: tuple[TensorInfo, ...]) -> bytes:
    try:
        return msgspec.msgpack.encode(tensors)
    except (OverflowError, UnicodeEncodeError):
        # A hostile shape, or a lone surrogate in a name.
        return repr(tensors).encode("utf-8", "surrogatepass")


def _seen(source: Source, tensors: Sequence[TensorInfo]) -> list[SeenFile]:
    """The files of a source: with their version where a tensor lies in them, else with their size alone."""
    files: dict[str, SeenFile] = {}
    named: set[str | None] = set()
    for info in tensors:
        if info.file in named:
            continue
        found = source.data_file(info)
        if found is not None:
            named.add(info.file)
            stamp = found[0]
            name = info.file or stamp.path.name
            # Elsewhere there are no inodes, and this is made of the version; here the same file may have several.
            version = stamp.mtime_ns if source.line is None else stamp.inode
            files[name] = SeenFile(_printable(name), stamp.size, str(version).encode())
    for stored in source.stored_files():
        files.setdefault(stored.name, SeenFile(_printable(stored.name), stored.nbytes, None))
    return list(files.values())


def _printable(name: str) -> str:
    return clean(name, 1000)


class _Difference(NamedTuple):
    """What is said of a process that differs: a verb, the same for several processes, and the rest. 0 is the worst."""

    order: int
    verb: str
    plural: str
    rest: str


def disagreement(mine: Hello, others: Mapping[int, Hello], noun: str) -> str | None:
    """One sentence if others do not see the same as this process, which is number 0; it names them."""
    found: dict[_Difference, list[int]] = {}
    for number, other in sorted(others.items()):
        difference = _difference(mine, other, f"{noun} 0")
        if difference is not None:
            found.setdefault(difference, []).append(number)
    if not found:
        return None
    worst = min(found, key=lambda difference: difference.order)
    numbers = found[worst]
    if len(numbers) == 1:
        return f"{noun} {numbers[0]} {worst.verb} {worst.rest}"
    return f"{noun}s {compact_ranges(numbers)} {worst.plural} {worst.rest}"


def _difference(mine: Hello, other: Hello, first: str) -> _Difference | None:
    if mine.version != other.version:
        rest = f"tui-params {clean(other.version, 40)}, and {first} runs {mine.version}: all must run one version"
        return _Difference(0, "runs", "run", rest)
    if other.trouble is not None:
        return _Difference(1, "could", "could", f"not begin: {clean(other.trouble, 1000)}")
    if mine.files != other.files:
        return _of_files(mine.files, other.files, first)
    if mine.listing != other.listing:
        return _Difference(3, "sees", "see", f"other tensors than {first}")
    if mine.question != other.question:
        return _Difference(4, "was", "were", f"asked for something else than {first}")
    return None


def _of_files(mine: Sequence[SeenFile], others: Sequence[SeenFile], first: str) -> _Difference:
    """How two lists of files differ, by the first file that does."""
    by_name = {file.name: file for file in others}
    for file in mine:
        other = by_name.pop(file.name, None)
        if other is None:
            return _Difference(2, "does", "do", f"not see {file.name}, which {first} sees")
        if file.nbytes != other.nbytes:
            rest = f"{other.nbytes:,} bytes in {file.name}, and {first} sees {file.nbytes:,}"
            return _Difference(2, "sees", "see", rest)
        if file != other:
            return _Difference(2, "sees", "see", f"another version of {file.name} than {first} does")
    if by_name:
        return _Difference(2, "sees", "see", f"{next(iter(by_name))}, which {first} does not see")
    return _Difference(2, "sees", "see", f"the files in another order than {first}")
