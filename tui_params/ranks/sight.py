"""Sight: what a process sees of the sources, and whether others see the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import blake2b

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
    """The files of a source: with their time of change where a tensor lies in them, else with their size alone."""
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
            files[name] = SeenFile(_printable(name), stamp.size, stamp.mtime_ns)
    for stored in source.stored_files():
        files.setdefault(stored.name, SeenFile(_printable(stored.name), stored.nbytes, None))
    return list(files.values())


def _printable(name: str) -> str:
    return clean(name, 1000)


def disagreement(mine: Hello, others: Mapping[int, Hello], noun: str) -> str | None:
    """One sentence if others do not see the same as this process, which is number 0; it names them."""
    found: dict[tuple[int, str], list[int]] = {}
    for number, other in others.items():
        difference = _difference(mine, other, noun)
        if difference is not None:
            found.setdefault(difference, []).append(number)
    if not found:
        return None
    first = min(found)
    numbers = found[first]
    who = f"{noun} {numbers[0]}" if len(numbers) == 1 else f"{noun}s {compact_ranges(numbers)}"
    return f"{who} {first[1]}"


def _difference(mine: Hello, other: Hello, noun: str) -> tuple[int, str] | None:
    """What is said of a process that differs, the most basic first."""
    first = f"{noun} 0"
    if mine.version != other.version:
        return 0, f"runs tui-params {clean(other.version, 40)}, and {first} {mine.version}: all must run one version"
    if other.trouble is not None:
        return 1, f"could not open it: {clean(other.trouble, 1000)}"
    if mine.files != other.files:
        return 2, _of_files(mine.files, other.files, first)
    if mine.listing != other.listing:
        return 3, f"sees other tensors than {first}"
    if mine.question != other.question:
        return 4, f"was asked for something else than {first}"
    return None


def _of_files(mine: Sequence[SeenFile], others: Sequence[SeenFile], first: str) -> str:
    """How two lists of files differ, by the first file that does."""
    by_name = {file.name: file for file in others}
    for file in mine:
        other = by_name.pop(file.name, None)
        if other is None:
            return f"does not see {file.name}, which {first} sees"
        if file.nbytes != other.nbytes:
            return f"sees {other.nbytes:,} bytes of {file.name}, and {first} {file.nbytes:,}"
        if file != other:
            return f"sees {file.name} as it was changed at another time than {first} does"
    if by_name:
        return f"sees {next(iter(by_name))}, which {first} does not see"
    return f"sees the files in another order than {first}"
