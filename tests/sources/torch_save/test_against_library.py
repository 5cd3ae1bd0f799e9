"""Damaged torch files and pickles, compared with what the real libraries say of them.

What the library refuses, or reads as other names or values than we do, is never ok in a check and never the same in a
comparison with the file before it was damaged. The environment variable TUI_PARAMS_FUZZ_TORCH gives the number of files
of each format (``just fuzz-torch``), TUI_PARAMS_FUZZ_SEED another start. A failure prints the shortest file of each
kind.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import NamedTuple

import numpy as np
import pytest
import torch

from tests.factories_damage import SEEDS, Part, damaged, read_parts, saved, write_parts
from tests.factories_library import Answer, Library, Tensor
from tui_params.api.comparing import compare
from tui_params.cli.app import run
from tui_params.core.health.checker import check
from tui_params.core.source import Source
from tui_params.core.text import clean
from tui_params.errors import OpenError, ReadError
from tui_params.sources.detect import open_path

NUMBER = int(os.environ.get("TUI_PARAMS_FUZZ_TORCH", "50"))
SEED = int(os.environ.get("TUI_PARAMS_FUZZ_SEED", "0"))


class Ours(NamedTuple):
    """What we say of one file before its values are judged: ``told`` has the rules and reasons that make it not ok."""

    told: tuple[str, ...]
    tensors: tuple[Tensor, ...]
    leaves: dict[str, str]


def look(source: Source) -> Ours:
    """Read everything in a small file."""
    told = [f"{finding.rule}: {finding.evidence}" for finding in source.listing.findings if finding.severity != "info"]
    tensors = []
    for info in source.listing.tensors:
        if info.unreadable is not None:
            told.append(f"unread: {info.unreadable}")
            continue
        try:
            raw = np.ascontiguousarray(source.read(info.name)).tobytes() if info.nbytes <= 1 << 24 else b""
        except ReadError as error:
            told.append(f"unread: {error}")
            continue
        shown = hashlib.blake2b(raw, digest_size=16).hexdigest() if info.nbytes <= 1 << 24 else ""
        tensors.append(Tensor(info.name, info.dtype.name, info.shape, shown))
    if not any(info.numel for info in source.listing.tensors):
        told.append("nothing to check")
    return Ours(tuple(told), tuple(sorted(tensors)), dict(source.listing.metadata))


def difference(ours: Ours, answer: Answer) -> str | None:
    """What the library has read differently, or None."""
    if answer.refusal is not None:
        # Whether a class of another package exists cannot be known.
        return None if "Unsupported global" in answer.refusal else f"refused: {answer.refusal}"
    if answer.is_odd:
        return None
    theirs = tuple(sorted(answer.tensors))
    if ours.tensors != theirs:
        names = {each.name for each in ours.tensors} ^ {each.name for each in theirs}
        if names:
            return f"names: {sorted(names)[:4]}"
        pairs = [(mine, other) for mine, other in zip(ours.tensors, theirs, strict=False) if mine != other]
        return f"values: {pairs[0]}" if pairs else "another number of tensors"
    for name, text in answer.leaves:
        if ours.leaves.get(name) not in (text, clean(text, 200)):
            return f"leaf: {name!r} is {ours.leaves.get(name)!r}, not {text!r}"
    return None


def silence(path: Path, before: Path, answer: Answer, unchanged: tuple[Ours, Answer]) -> tuple[str | None, str | None]:
    """What the library says and neither a check nor a comparison tells; and what we tell of a file that it takes."""
    try:
        source = open_path(path)
    except OpenError as error:
        return None, None if answer.refusal is not None else f"refused here: {error}"
    with source:
        ours = look(source)
        differs = difference(ours, answer)
        if differs is None:
            is_accused = answer.refusal is None and bool(ours.told)
            return None, ours.told[0] if is_accused else None
        if not ours.told:
            report = check(source)
            if not report.unchecked and not any(finding.rule == "checksum" for finding in report.findings):
                return f"check says ok, {differs}", None
        if ours.tensors == unchanged[0].tensors and answer.tensors != unchanged[1].tensors:
            with open_path(before) as old:
                if compare(old, source).state == "same":
                    return f"diff says same, {differs}", None
    return None, None


def kind_of(said: str) -> str:
    return re.sub(r"'[^']*'|\"[^\"]*\"|0x[0-9a-f]+|\d[\d,.]*", "#", said)[:160]


@pytest.fixture(scope="module")
def library() -> Iterator[Library]:
    with Library() as child:
        yield child


@pytest.mark.parametrize("form", SEEDS)
def test_fuzz_what_the_library_refuses_is_told(tmp_path: Path, library: Library, form: str) -> None:
    random = Random(f"{SEED} {form}")
    seeds = SEEDS[form]()
    kinds: Counter[str] = Counter()
    accused: Counter[str] = Counter()
    shortest: dict[str, bytes] = {}
    refused = odd = 0
    unchanged = []
    befores = []
    for number, seed in enumerate(seeds):
        path = tmp_path / f"before_{number}{seed.suffix}"
        path.write_bytes(seed.data)
        library.ask(path, seed.how)
        with open_path(path) as source:
            unchanged.append((look(source), library.receive()))
        befores.append(path)
        # The oracle is of use only if both agree on honest files.
        assert not unchanged[-1][0].told
        assert difference(*unchanged[-1]) is None
    for _ in range(NUMBER):
        seed, data = damaged(random, seeds)
        path = tmp_path / f"x{seed.suffix}"
        path.write_bytes(data)
        library.ask(path, seed.how)
        answer = library.receive()
        refused += answer.refusal is not None
        odd += answer.is_odd
        which = next(number for number, each in enumerate(seeds) if each is seed)
        said, told = silence(path, befores[which], answer, unchanged[which])
        if said is not None:
            kinds[kind_of(said)] += 1
            shortest[kind_of(said)] = min(shortest.get(kind_of(said), data), data, key=len)
        if told is not None:
            accused[kind_of(told)] += 1
    print(f"{form}: {NUMBER:,} files, {refused:,} refused by the library, {odd:,} of which not all was compared,")
    print(f"{library.restarts:,} without an answer, {sum(kinds.values()):,} silent, {sum(accused.values()):,} told")
    for kind, count in kinds.most_common():
        print(f"{count:7,} {kind}\n        {shortest[kind]!r}")
    print("Told here, and taken by the library:")
    for kind, count in accused.most_common(25):
        print(f"{count:7,} {kind}")
    assert not kinds
    # The inputs are of use only if many are refused and many are not.
    assert NUMBER / 20 < refused < NUMBER * 19 / 20


# Kinds that the damaged files showed, each by itself


def told(path: Path) -> set[str]:
    with open_path(path) as source:
        return {finding.rule for finding in source.listing.findings if finding.severity != "info"}


def parts_of(data: bytes) -> dict[str, Part]:
    return {part.name.decode().partition("/")[2]: part for part in read_parts(data)}


def changed(name: str, **fields: int) -> Callable[[dict[str, Part]], None]:
    """Fields of a member that the directory gives wrongly."""

    def change(parts: dict[str, Part]) -> None:
        parts[name].wrong |= {("entry", key): value for key, value in fields.items()}

    return change


def replaced(name: str, data: bytes) -> Callable[[dict[str, Part]], None]:
    """Other bytes for a member."""

    def change(parts: dict[str, Part]) -> None:
        parts[name].data = data

    return change


def renamed(name: str, to: bytes) -> Callable[[dict[str, Part]], None]:
    def change(parts: dict[str, Part]) -> None:
        parts[name].name = to

    return change


ARCHIVES: dict[str, tuple[Callable[[dict[str, Part]], object], str]] = {
    "no version": (lambda parts: parts.pop("version"), "it has no version"),
    "a version of the future": (replaced("version", b"11\n"), "its version is '11"),
    "a version that is no number": (replaced("version", b"x"), "its version is 'x'"),
    "another byte order": (replaced("byteorder", b"Little"), "its byte order is 'Little'"),
    "a byte order with a line end": (replaced("byteorder", b"big\n"), "its byte order is 'big"),
    "an alignment that is no number": (replaced(".storage_alignment", b"6x"), "the alignment of its storages is '6x'"),
    "an id that is no UTF-8": (replaced(".data/serialization_id", b"\xff"), "which is no UTF-8"),
    "a member outside": (renamed(".format_version", b"other/.format_version"), "lies outside its folder archive"),
    "a folder in capitals": (renamed("version", b"ARCHIVE/version"), "lies outside its folder archive"),
    "a member on another disk": (changed("data/0", disk=3), "data/0 is said to begin on disk 3"),
    "a member that is a folder": (changed("version", external=16), "version is said to be a folder"),
    "a member that is a patch": (changed("byteorder", flags=32), "byteorder is said to be encrypted or a patch"),
    "two sizes": (changed("data/1", packed=0), "data/1 is not packed, and is said to be of two sizes"),
    "a member beyond the others": (changed(".data/serialization_id", header=1 << 30), "said to lie beyond the members"),
    "an id that is not where it should be": (changed(".data/serialization_id", header=1), "lies outside the file"),
}


@pytest.mark.parametrize("name", ARCHIVES)
def test_what_torch_refuses_in_an_archive_is_an_error(tmp_path: Path, library: Library, name: str) -> None:
    change, words = ARCHIVES[name]
    healthy = saved({"a": torch.arange(3.0), "b": torch.ones(2)})
    parts = parts_of(healthy)
    change(parts)
    before, path = tmp_path / "before.pt", tmp_path / "x.pt"
    before.write_bytes(healthy)
    path.write_bytes(write_parts(list(parts.values())))
    library.ask(path, "torch")
    # Of a folder torch reads nothing, and takes what is in the memory.
    assert library.receive().refusal is not None or "folder" in name
    with open_path(path) as source, open_path(before) as old:
        (finding,) = [finding for finding in source.listing.findings if finding.rule == "bad-archive"]
        assert finding.severity == "error"
        assert finding.evidence.startswith("torch refuses the archive: ")
        assert words in finding.evidence
        compared = compare(old, source)
        assert compared.state == "uncompared"
        assert any("torch refuses the archive" in found.evidence for found in compared.findings_b)


@pytest.mark.parametrize("is_wide", [False, True])
def test_an_archive_that_is_put_together_again_is_healthy(tmp_path: Path, library: Library, is_wide: bool) -> None:
    path = tmp_path / "x.pt"
    parts = parts_of(saved({"a": torch.arange(3.0)}))
    parts["version"].data = b" 4 and more"
    parts["byteorder"].name = b"archive/BYTEORDER"
    path.write_bytes(write_parts(list(parts.values()), is_wide=is_wide))
    library.ask(path, "torch")
    answer = library.receive()
    with open_path(path) as source:
        assert source.listing.findings == ()
        assert difference(look(source), answer) is None


@pytest.mark.parametrize(
    ("end", "words"), [({"here": 1}, "1 of them on this disk"), ({"here": 99}, "99 of them on this disk")]
)
def test_the_end_of_an_archive_that_lies(tmp_path: Path, library: Library, end: dict[str, int], words: str) -> None:
    path = tmp_path / "x.pt"
    path.write_bytes(write_parts(read_parts(saved({"a": torch.arange(3.0)})), end))
    library.ask(path, "torch")
    assert library.receive().refusal is not None
    with open_path(path) as source:
        (finding,) = source.listing.findings
    assert finding.rule == "bad-archive"
    assert words in finding.evidence


@pytest.mark.parametrize("more", [1, 4])
def test_a_storage_that_is_longer_than_it_claims(tmp_path: Path, library: Library, more: int) -> None:
    path = tmp_path / "x.pt"
    parts = parts_of(saved({"a": torch.arange(3.0)}))
    parts["data/0"].data += bytes(more)
    path.write_bytes(write_parts(list(parts.values())))
    library.ask(path, "torch")
    assert library.receive().refusal is not None
    assert told(path) == {"storage-bounds"}
    path = tmp_path / "y.pt"
    stream = saved({"a": torch.arange(3.0)}, _use_new_zipfile_serialization=False)
    path.write_bytes(stream.replace(b"K\x03", b"K\x02"))
    library.ask(path, "torch")
    assert library.receive().refusal is not None
    assert "storage-bounds" in told(path)


def test_a_storage_of_two_sizes(tmp_path: Path, library: Library) -> None:
    path = tmp_path / "x.pt"
    data = torch.arange(6.0)
    parts = parts_of(saved({"a": data[:3], "b": data[3:]}))
    pickled = parts["data.pkl"].data
    assert pickled.count(b"K\x06t") == 2
    at = pickled.index(b"K\x06t")
    parts["data.pkl"].data = pickled[:at] + b"K\x03t" + pickled[at + 3 :]
    parts["data/0"].data = parts["data/0"].data[:12]
    path.write_bytes(write_parts(list(parts.values())))
    library.ask(path, "torch")
    assert library.receive().refusal is not None
    assert told(path) == {"storage-bounds"}


@pytest.mark.parametrize(("at", "size"), [(4, 0), (4, 43)])
def test_the_64_bit_end_of_an_archive_that_lies(tmp_path: Path, library: Library, at: int, size: int) -> None:
    path = tmp_path / "x.pt"
    raw = bytearray(write_parts(read_parts(saved({"a": torch.arange(3.0)})), is_wide=True))
    raw[raw.rindex(b"PK\6\6") + at] = size
    path.write_bytes(raw)
    library.ask(path, "torch")
    assert library.receive().refusal is not None
    assert told(path) == {"bad-archive"}


def test_a_gradient_of_whole_numbers(tmp_path: Path, library: Library) -> None:
    path = tmp_path / "x.pt"
    parts = parts_of(saved({"a": torch.nn.Parameter(torch.arange(3), requires_grad=False), "b": torch.ones(2)}))
    assert parts["data.pkl"].data.count(b"\x89") == 3
    at = parts["data.pkl"].data.index(b"\x89", parts["data.pkl"].data.index(b"\x89") + 1)
    parts["data.pkl"].data = parts["data.pkl"].data[:at] + b"\x88" + parts["data.pkl"].data[at + 1 :]
    path.write_bytes(write_parts(list(parts.values())))
    library.ask(path, "torch")
    assert library.receive().refusal is not None
    assert told(path) == {"malformed-tensor"}


def test_damage_that_changes_no_value_is_told_by_the_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = saved({"a": torch.arange(3.0)}, _use_new_zipfile_serialization=False)
    (tmp_path / "a.pt").write_bytes(data)
    (tmp_path / "b.pt").write_bytes(data.replace(b"M\xe9\x03.", b"M\xea\x03.", 1))
    (tmp_path / "c.pt").write_bytes(data + b"#")
    paths = [str(tmp_path / name) for name in ("a.pt", "b.pt", "c.pt")]
    assert run(["diff", paths[0], paths[1]]) == 3
    shown = capsys.readouterr().out
    assert "B is damaged or not whole" in shown
    assert "the version of the stream is 1002, not 1001" in shown
    assert run(["diff", paths[0], paths[1], "--json"]) == 3
    out, err = capsys.readouterr()
    (found,) = json.loads(out)["findings_b"]
    assert found["evidence"].startswith("the version of the stream is 1002")
    assert "damaged" in err
    # Bytes after the end were not compared.
    assert run(["diff", paths[0], paths[2]]) == 3
