"""The table of all formats: what a row must say, and that a row and a file are all that a new format needs."""

from __future__ import annotations

import os
import re
import struct
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
import pytest
import torch

import tui_params
from tests.contributing import EXAMPLES, FORMAT, apply, copy_package
from tests.factories_safetensors import small_file
from tui_params.sources.abilities import ABILITIES
from tui_params.sources.detect import READERS, Reader, Unopened, describe_formats

PACKAGE = Path(tui_params.__file__).parent


def faults_of(rows: Sequence[Reader | Unopened]) -> Iterator[str]:
    """What is wrong with a table of formats, one sentence for each fault."""
    names: set[str] = set()
    suffixes: set[str] = set()
    for row in rows:
        if row.name in names:
            yield f"two rows are called {row.name}"
        names.add(row.name)
        if not (row.magic or row.is_file or row.is_folder):
            yield f"{row.name} can never be recognised"
        for suffix in row.suffixes:
            if not re.fullmatch(r"\.\w+", suffix):
                yield f"{row.name} has {suffix!r} for a suffix"
            if suffix in suffixes:
                yield f"{row.name} has the suffix {suffix} of another row"
            suffixes.add(suffix)
        if isinstance(row, Reader) and not re.fullmatch(r"[A-Z][^\n]{10,}\.", row.description):
            yield f"{row.name} is not described by a sentence"
        if isinstance(row, Unopened) and not re.match(r"(is|looks like|starts with) ", row.sentence):
            yield f"{row.name} does not say what it is"


def row(**changes: object) -> Reader:
    """The first row of the table under a name of its own, without suffixes, and changed."""
    return msgspec.structs.replace(READERS[0], **{"name": "another", "suffixes": (), **changes})  # type: ignore[return-value]


def test_the_table_has_no_fault() -> None:
    assert list(faults_of(READERS)) == []
    assert list(faults_of([*READERS, row()])) == []


@pytest.mark.parametrize(
    ("planted", "fault"),
    [
        (row(name="torch.save"), "two rows are called torch.save"),
        (row(description=""), "another is not described by a sentence"),
        (row(description="no sentence"), "another is not described by a sentence"),
        (row(is_file=None), "another can never be recognised"),
        (row(suffixes=("tiny",)), "another has 'tiny' for a suffix"),
        (row(suffixes=(".pt",)), "another has the suffix .pt of another row"),
        (Unopened(name="another", magic=b"x", sentence=""), "another does not say what it is"),
    ],
)
def test_a_planted_fault_is_found(planted: Reader | Unopened, fault: str) -> None:
    assert list(faults_of([*READERS, planted])) == [fault]


RUN = """
import sys
from tui_params.cli.app import run
for line in sys.stdin.read().splitlines():
    print("$", line, flush=True)
    code = run(line.split())
    print("exit code", code, flush=True)
print("imported", "tui_params.sources.tiny" in sys.modules)
"""


@pytest.fixture
def with_tiny(tmp_path: Path) -> Path:
    """A folder with a copy of the package to which the format of CONTRIBUTING.md was added: one file, one row."""
    root = tmp_path / "root"
    copy_package(root)
    apply(EXAMPLES[FORMAT], root)
    return root


def commands(root: Path, *lines: str) -> str:
    """What the command lines print, each by the package in ``root``; checks that it is that one."""
    ran = subprocess.run(
        [sys.executable, "-c", RUN],
        input="\n".join(lines), capture_output=True, text=True, check=False, cwd=root,
        env={**os.environ, "PYTHONPATH": str(root), "TUI_PARAMS_CACHE": "off", "COLUMNS": "100"},
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    return ran.stdout + ran.stderr


def test_a_file_and_a_row_are_a_new_format(with_tiny: Path) -> None:
    data = b"TINYF32 " + struct.pack("<I3f", 3, 1.0, 2.0, 4.0)
    (with_tiny / "model.safetensors").write_bytes(data)  # The content decides, not the name.
    (with_tiny / "run").mkdir()
    (with_tiny / "run" / "a.tiny").write_bytes(data)
    (with_tiny / "empty").mkdir()
    printed = commands(
        with_tiny, "--help", "ls model.safetensors", "values model.safetensors values", "ls run", "ls empty"
    )
    told, *parts = re.split(r"(?m)^\$ .*\n", printed)[1:]
    assert re.search(r"(?m)^  TINY +A TINY file: one tensor\. Usually \.tiny\.$", told)
    listed, shown, folder, empty = parts
    assert re.search(r"(?m)^ +values +\[3\] +f32", listed), listed
    assert "exit code 0" in listed
    assert re.search(r"\b1\b.*\b2\b.*\b4\b", shown.partition("values")[2]), shown
    assert re.search(r"(?m)^ +values +\[3\] +f32", folder), folder
    assert "*.tiny" in printed
    assert "exit code 3" in empty


def test_a_format_costs_nothing_before_it_is_needed(with_tiny: Path) -> None:
    (with_tiny / "model.safetensors").write_bytes(small_file())
    assert commands(with_tiny, "--help", "ls model.safetensors").endswith("imported False\n")


def readers_loaded(path: Path) -> set[str]:
    """The rooms of the readers that are loaded once ``path`` has been opened; an empty path opens nothing."""
    script = """
import sys
from tui_params.sources.detect import open_path
if sys.argv[1]:
    open_path(sys.argv[1])
print(*{name.split(".")[2] for name in sys.modules if name.startswith("tui_params.sources.")})
"""
    ran = subprocess.run(
        [sys.executable, "-c", script, str(path) if path.name else ""],
        cwd=PACKAGE.parent, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return set(ran.stdout.split()) - {"detect", "given", "openers", "row", "unopened", "bytes"}


def test_no_reader_is_imported_before_it_is_needed(tmp_path: Path) -> None:
    (tmp_path / "x.safetensors").write_bytes(small_file())
    torch.save({"a": torch.zeros(2)}, tmp_path / "x.pt")
    assert readers_loaded(Path()) == set()
    assert readers_loaded(tmp_path / "x.safetensors") == {"safetensors"}
    assert readers_loaded(tmp_path / "x.pt") == {"torch_save", "inert_pickle"}
    assert readers_loaded(tmp_path) == {"folder", "safetensors"}


def test_every_format_is_described() -> None:
    described = dict(describe_formats())
    assert list(described) == [row.name for row in READERS if isinstance(row, Reader)]
    assert {"safetensors", "torch.save", "folder"} <= described.keys()
    assert described["torch.save"].endswith("Usually .bin, .pt, .pth, .ckpt, .pt2.")
    assert not any(name in described for name in ("Core ML", "Orbax"))


def test_the_readme_lists_every_format_as_the_table_describes_it() -> None:
    readme = (PACKAGE.parent / "README.md").read_text(encoding="utf-8")
    rows = "".join(f"| {name} | {description} |\n" for name, description in describe_formats())
    assert rows in readme


def test_the_readme_says_what_is_shown_of_every_format() -> None:
    names = [row.name for row in READERS if isinstance(row, Reader)]
    assert list(ABILITIES) == names
    readme = (PACKAGE.parent / "README.md").read_text(encoding="utf-8")
    rows = [
        f"| {name} | {able.values} | {able.logical} | {able.states} | {able.faults} |"
        for name, able in ABILITIES.items()
    ]
    assert "".join(f"{' '.join(row.split())}\n" for row in rows) in readme
