"""Damaged NPY, NPZ, GGUF, ONNX and HDF5 files, compared with what their own libraries say of them.

A file that its library refuses is never healthy here, and what the library reads is read the same or has a reason. The
environment variable TUI_PARAMS_FUZZ_FAR gives the number of files of each format (``just fuzz-far``), and
TUI_PARAMS_FUZZ_SEED another start. A failure prints the shortest file of its kind.
"""

from __future__ import annotations

import os
import re
import zlib
from collections import Counter
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from random import Random

import pytest

from tests.factories_damage import damaged
from tests.factories_far_damage import SEEDS, TABLE, is_sound
from tests.factories_library import Answer, Library
from tests.formats.far_child import LARGE, digest
from tui_params.errors import OpenError, ReadError, SliceError
from tui_params.sources.detect import open_path

pytestmark = pytest.mark.formats

NUMBER = int(os.environ.get("TUI_PARAMS_FUZZ_FAR", "300"))
SEED = int(os.environ.get("TUI_PARAMS_FUZZ_SEED", "0"))
TOLERATED = re.compile(
    r"valid dtype descriptor: '[<>]f1'|"
    r"Dequantization for \w+ is not yet implemented|cannot reshape array of size \d+ into shape \(0"
)
"""What the libraries refuse though the file is sound: fp8 by the name that numpy writes and does not read, blocks that
gguf does not restore, and blocks of no elements.

Damage in the parts of an ONNX model that have no tensors, such as what describes inputs and outputs, is not looked for.
"""

PACKAGES = {"gguf": "gguf", "onnx": "onnx", "hdf5": "h5py"}


def ours(path: Path) -> tuple[list[str], dict[str, tuple[tuple[int, ...], str] | None]]:
    """What is wrong with a file, and the tensors: shape and digest, None if it is said why there are no values."""
    try:
        source = open_path(path)
    except OpenError as error:
        return [f"refused: {error}"], {}
    with source:
        listing = source.listing
        said = [f"{each.severity}: {each.evidence}" for each in listing.findings if each.severity != "info"]
        tensors: dict[str, tuple[tuple[int, ...], str] | None] = {}
        for info in listing.tensors:
            tensors[info.name] = None
            if info.unreadable is not None:
                continue
            try:
                values = digest(source.read(info.name)) if info.numel <= LARGE else ""
                tensors[info.name] = info.shape, values
            except (ReadError, SliceError) as error:
                said.append(f"read: {error}")
        said += [
            f"checksum of {record.label}"
            for record in source.records()
            if zlib.crc32(b"".join(source.record_blocks(record))) != record.crc
        ]
        said += [text for text in listing.metadata.values() if text.startswith("a file: ")]
        if any(info.unreadable for info in listing.tensors):
            said.append("unreadable: " + next(info.unreadable for info in listing.tensors if info.unreadable))
        if listing.unlisted:
            said.append(f"unlisted: {listing.unlisted}")
    return said, tensors


def disagreement(path: Path, library: Library, how: str) -> tuple[str | None, bool]:
    """What the library and we say differently of a file, or None; and whether the library refuses it."""
    library.ask(path, how)
    said, mine = ours(path)
    answer = library.receive()
    if answer.refusal is not None:
        is_elsewhere = "Wire format was corrupt" in answer.refusal and is_sound(path.read_bytes())
        is_tolerated = is_elsewhere or TOLERATED.search(answer.refusal)
        return (None if said or is_tolerated else f"passed: {answer.refusal}"), True
    return next(differences(answer, said, mine), None), False


def differences(answer: Answer, said: list[str], mine: dict[str, tuple[tuple[int, ...], str] | None]) -> Iterator[str]:
    """Tensors that the library has and we have not, or otherwise, without a word."""
    theirs = {each.name: (each.shape, each.digest) for each in reversed(answer.tensors) if each.digest != "other"}
    for name, value in theirs.items():
        if name == "b.c":
            # Of a chunk whose key in the index of an HDF5 file is damaged, HDF5 makes zeros; its iteration finds it.
            continue
        if name in mine and mine[name] is not None and mine[name] != value:
            yield f"differs: {name}: {mine[name]}, and the library has {value}; we said {said[:1]}"
        elif name not in mine and not said and name.isascii():
            # zipfile and protobuf may make other characters of bytes that are no ASCII.
            yield f"missing: {name}"


@pytest.mark.parametrize("how", SEEDS)
def test_fuzz_what_its_library_refuses_is_never_healthy(tmp_path: Path, how: str) -> None:
    if how in PACKAGES and find_spec(PACKAGES[how]) is None:
        pytest.skip(f"{PACKAGES[how]} is not installed")
    random = Random(SEED)
    seeds = SEEDS[how]()
    kinds: Counter[str] = Counter()
    shortest: dict[str, bytes] = {}
    refused = 0
    # HDF5 takes a process for each file.
    number = NUMBER // 50 if how == "hdf5" else NUMBER
    (tmp_path / "e.data").write_bytes(TABLE.tobytes())
    path = tmp_path / f"x{seeds[0].suffix}"
    with Library(Path(__file__).with_name("far_child.py")) as library:
        for _ in range(number):
            _, file = damaged(random, seeds)
            path.write_bytes(file)
            said, is_refused = disagreement(path, library, how)
            refused += is_refused
            if said is not None:
                kind = re.sub(r"0x\w+|'[^']*'|\"[^\"]*\"|\d+|[0-9a-f]{32}", "#", said)[:150]
                kinds[kind] += 1
                shortest[kind] = min(shortest.get(kind, file), file, key=len)
    print(
        f"\n{how}: {number:,} files, {refused:,} refused by the library, {library.restarts} ended or hung its process"
    )
    for kind, count in kinds.most_common():
        print(f"{count:7,} {kind} {shortest[kind]!r}")
    assert not kinds
