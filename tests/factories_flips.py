"""Files cut off at every byte, or with some bytes changed, and the promise that only sentences come of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from random import Random

from tui_params.errors import OpenError, ReadError, SliceError
from tui_params.sources.detect import open_path

_ODD = (0, 1, 0x7F, 0x80, 0xFF)


def truncated(data: bytes) -> Iterator[bytes]:
    """The file cut off at every byte."""
    return (data[:end] for end in range(1, len(data)))


def flipped(data: bytes, seed: int) -> bytes:
    """The file with one to four bytes changed: a bit of them, or to a number that often means something."""
    random = Random(seed)
    changed = bytearray(data)
    for _ in range(random.randint(1, 4)):
        # Headers come first in most formats, and are small beside the data.
        end = random.choice((64, 256, len(data)))
        at = random.randrange(min(end, len(data)))
        changed[at] = random.choice((changed[at] ^ 1 << random.randrange(8), random.choice(_ODD)))
    return bytes(changed)


def assert_only_sentences(path: Path, files: Iterable[bytes]) -> None:
    """Open each of the files and read all that it lists: only the errors for that are raised, as one line."""
    for data in files:
        path.write_bytes(data)
        said = []
        try:
            source = open_path(path)
        except OpenError as error:
            said.append(str(error))
        else:
            said += [found.evidence for found in source.listing.findings]
            for info in source.listing.tensors:
                try:
                    if info.numel < 1 << 16:
                        source.read(info.name)
                    source.summarize(info.name)
                except (ReadError, SliceError) as error:  # noqa: PERF203
                    said.append(str(error))
            source.close()
        assert all(sentence and sentence.isprintable() for sentence in said), said
