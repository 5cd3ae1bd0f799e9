"""Damaged folders of several files: faults in the bytes, the zip or the pickle of some, or files that were mixed up.

What is said of them is compared with what the real library says (``Library``), and every file that is opened meanwhile
must be in the folder.
"""

from __future__ import annotations

import hashlib
import os
import re
import resource
import shutil
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import numpy as np

from tests import library_child
from tests.factories_damage import Seed, break_bytes, zip_seed
from tests.factories_library import Answer, Library, Tensor
from tui_params.core.health.checker import check
from tui_params.core.text import clean
from tui_params.errors import OpenError, ReadError
from tui_params.sources.detect import open_path

MORE_MEMORY = 1 << 30
"""Bytes of address space that reading a damaged folder of some kilobytes may take beside what is taken already."""

Files = dict[str, bytes]
"""What each file of a folder has, by its path there."""


def read_seeds(folder: Path) -> dict[str, Seed]:
    """The honest files of a folder, and how each can be damaged."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            data = path.read_bytes()
            seed = zip_seed(data) if path.suffix == ".pt" else _plain_seed(data)
            found[path.relative_to(folder).as_posix()] = seed
    return found


def _plain_seed(data: bytes) -> Seed:
    return Seed(data, "", "", (lambda random: break_bytes(random, data),))


def damage_folder(random: Random, seeds: dict[str, Seed]) -> Files:
    """The files with a fault: most often one of them is damaged; or cut, lost, exchanged, doubled or renamed."""
    files = {name: seed.data for name, seed in seeds.items()}
    names = list(files)
    for _ in range(random.choice((1, 1, 1, 2))):
        one, other = random.choice(names), random.choice(names)
        what = random.randrange(12)
        if what == 0:
            files[one] = files.get(one, b"")[: random.randrange(len(seeds[one].data) + 1)]
        elif what == 1:
            files.pop(one, None)
        elif what == 2:
            files[one], files[other] = seeds[other].data, seeds[one].data
        elif what == 3:
            files[one] = seeds[other].data
        elif what == 4:
            files[_other_number(random, one)] = files.pop(one, seeds[one].data)
        elif what == 5:
            files[_other_number(random, one)] = seeds[other].data
        else:
            files[one] = random.choice(seeds[one].breakers)(random)
    return files


def _other_number(random: Random, name: str) -> str:
    numbers = list(re.finditer(r"\d+(?=[^/]*$)", name))
    if not numbers:
        return name + "0"
    found = random.choice(numbers)
    return name[: found.start()] + random.choice(("0", "1", "2", "7", "00", "4000000000")) + name[found.end() :]


def write_files(folder: Path, files: Files, before: Files) -> None:
    """Make the folder hold these files, where it held ``before``."""
    for name in before.keys() - files.keys():
        (folder / name).unlink()
    for name, data in files.items():
        if before.get(name) != data:
            (folder / name).write_bytes(data)


_opened: list[str] | None = None
_is_listening = False


def _listen(event: str, arguments: tuple[Any, ...]) -> None:
    if _opened is not None and event in ("open", "os.listdir", "os.scandir") and isinstance(arguments[0], str | bytes):
        _opened.append(os.fsdecode(arguments[0]))


@contextmanager
def only_inside(folder: Path) -> Iterator[None]:
    """Fails if a file outside the folder is opened meanwhile, or more memory is taken than a small file may need."""
    global _opened, _is_listening
    if not _is_listening:
        # It stays until the end of the process, and does nothing between.
        sys.addaudithook(_listen)
        _is_listening = True
    limits = resource.getrlimit(resource.RLIMIT_AS)
    if sys.platform == "linux":
        taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (taken + MORE_MEMORY, limits[1]))
    opened: list[str] = []
    _opened = opened
    try:
        yield
    finally:
        _opened = None
        resource.setrlimit(resource.RLIMIT_AS, limits)
    # Python imports modules, and looks for the entry points of packages.
    own = [os.path.realpath(path) for path in (str(folder), *filter(None, sys.path), sys.prefix, sys.base_prefix)]
    outside = [path for path in opened if not os.path.realpath(path).startswith(tuple(own))]
    assert not outside


def assert_plain(sentence: str) -> None:
    """It is one line without anything that a terminal would obey."""
    assert sentence, sentence
    assert "\n" not in sentence, sentence
    assert clean(sentence) == sentence, sentence


class Seen(NamedTuple):
    """What was said of a folder: ``told`` is the first thing that is no remark, None if all is said to be well."""

    told: str | None
    tensors: tuple[Tensor, ...] = ()


def look(folder: Path) -> Seen:
    """Open a folder, read everything in it, and check it."""
    try:
        source = open_path(folder)
    except OpenError as error:
        refusal = str(error)
        assert_plain(refusal)
        return Seen(f"refused: {refusal}")
    with source:
        told: list[str] = []
        tensors = []
        for info in source.listing.tensors:
            if info.nbytes > library_child.LARGE:
                # The library gives no digest of it either.
                tensors.append(Tensor(info.name, info.dtype.name, info.shape, ""))
                continue
            try:
                raw = np.ascontiguousarray(source.read(info.name)).tobytes()
                assert sum(block.nbytes for block in source.blocks(info)) == len(raw)
            except ReadError as error:
                told.append(f"unread: {error}")
                continue
            digest = hashlib.blake2b(raw, digest_size=16).hexdigest()
            tensors.append(Tensor(info.name, info.dtype.name, info.shape, digest))
        report = check(source)
        said = [*source.listing.findings, *report.findings]
        told += [f"{finding.rule}: {finding.evidence}" for finding in said if finding.severity != "info"]
        told += [f"unchecked: {entry.reason}" for entry in report.unchecked]
        for sentence in told:
            assert_plain(sentence)
        return Seen(told[0] if told else None, tuple(sorted(tensors)))


_UNCERTAIN = (
    # Whether a class of another package exists cannot be known, or a kind of device: torch_npu brings "npu".
    "Unsupported global",
    "at start of device string",
    # The library is asked for two files by their names. What is left under other names is another job's.
    "no file of this job",
)
"""What the library says where it refuses a file for a reason that is none on another machine."""


def difference(seen: Seen, answer: Answer) -> str | None:
    """What the library has read otherwise, or None. Of tensors that it does not name nothing is known."""
    if answer.refusal is not None:
        return None if any(words in answer.refusal for words in _UNCERTAIN) else f"refused: {answer.refusal}"
    if answer.is_odd:
        return None
    ours = {each.name: each for each in seen.tensors}
    for theirs in answer.tensors:
        if ours.get(theirs.name) != theirs:
            return f"values: {ours.get(theirs.name)} is {theirs}"
    return None


class Tally(NamedTuple):
    """How many damaged folders were told, and how many of the others the library refuses or reads otherwise.

    ``silent`` has those by kind, and ``examples`` the files of one of each.
    """

    told: int
    silent: Counter[str]
    examples: dict[str, Files]


def fuzz(folder: Path, how: str | None, number: int, seed: str, work: Path) -> Tally:
    """Damage so many copies of an honest folder, in ``work``, and ask the library about those that seem well.

    ``how`` is what the library is asked for; without it nobody is asked, which saves the start of another process.
    """
    random = Random(seed)
    seeds = read_seeds(folder)
    target = work / folder.name
    shutil.copytree(folder, target)
    honest = now = {name: each.data for name, each in seeds.items()}
    told, silent, examples = 0, Counter[str](), dict[str, Files]()
    with Library() as library:
        with only_inside(target):
            healthy = look(target)
        assert healthy.told is None
        if how is not None:
            library.ask(target, how)
            # The oracle is of use only if both agree on the honest folder.
            assert difference(healthy, library.receive()) is None
        for _ in range(number):
            files = damage_folder(random, seeds)
            write_files(target, files, now)
            now = files
            try:
                with only_inside(target):
                    seen = look(target)
            except BaseException:
                print({name: data for name, data in files.items() if data != honest.get(name)})
                raise
            if seen.told is not None:
                told += 1
            if seen.told is not None or how is None:
                continue
            library.ask(target, how)
            differs = difference(seen, library.receive())
            if differs is not None:
                kind = re.sub(r"'[^']*'|\"[^\"]*\"|0x[0-9a-f]+|\d[\d,.]*", "#", differs)[:160]
                silent[kind] += 1
                examples[kind] = files
    print(f"{folder.name}: {number:,} folders, {told:,} told, {sum(silent.values()):,} silent")
    for kind, count in silent.most_common():
        print(f"{count:7,} {kind}")
        print({name: data for name, data in examples[kind].items() if data != honest.get(name)})
    return Tally(told, silent, examples)
