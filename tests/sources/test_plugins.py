"""Formats that other packages register: looked for only where none of ours fits, and never a traceback."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from tui_params.cli.app import run
from tui_params.errors import OpenError, UnknownFormatError
from tui_params.sources.detect import open_path

ROW = """
from pathlib import Path
from tui_params.core.dtypes import from_safetensors
from tui_params.core.source import Listing
from tui_params.core.tensor import describe
from tui_params.sources.bytes.extents import ExtentSource
from tui_params.sources.bytes.local import opened
from tui_params.sources.row import Reader
import msgspec

def open_it(path: Path):
    if path.is_dir():
        path = path / "inside.toy"
    with opened(path) as (_, file):
        info = msgspec.structs.replace(describe("values", (2,), from_safetensors("U8")), file=file.name, offset=3)
    return ExtentSource(path.name, Listing("TOY", (info,)), {}, {file.name: file})

def is_folder(path):
    return (path / "inside.toy").exists()

def fail(*given):
    raise RuntimeError("no such luck")

row = Reader(name="toy", description="A toy.", magic=b"TOY", is_folder=is_folder, open=open_it)
failing = msgspec.structs.replace(row, open=fail)
undecided = msgspec.structs.replace(row, magic=(), is_file=fail)
nothing = msgspec.structs.replace(row, open=lambda path: None)
"""


@pytest.fixture
def register(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Install a package ``toy`` with these entry points."""
    site = tmp_path / "site"

    def installed(**points: str) -> None:
        (site / "toy-1.dist-info").mkdir(parents=True)
        (site / "toy-1.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: toy\nVersion: 1\n")
        lines = [f"{name} = {value}" for name, value in points.items()]
        (site / "toy-1.dist-info" / "entry_points.txt").write_text("\n".join(["[tui_params.readers]", *lines, ""]))
        (site / "toy_rows.py").write_text(ROW)
        monkeypatch.syspath_prepend(site)

    yield installed
    sys.modules.pop("toy_rows", None)


@pytest.fixture
def toy(tmp_path: Path) -> Path:
    path = tmp_path / "x.bin"
    path.write_bytes(b"TOY\5\6")
    return path


def test_a_registered_format_opens_what_none_of_ours_knows(register: Callable[..., None], toy: Path) -> None:
    with pytest.raises(UnknownFormatError, match="no format that is known here"):
        open_path(toy)
    register(toy="toy_rows:row")
    source = open_path(toy)
    assert source.listing.format == "TOY"
    assert source.read("values").tolist() == [5, 6]
    assert open_path(toy, "TOY").read("values").tolist() == [5, 6]


def test_a_registered_format_may_be_a_folder(register: Callable[..., None], tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "inside.toy").write_bytes(b"TOY\5\6")
    with pytest.raises(OpenError, match="holds no tensor file"):
        open_path(folder)
    register(toy="toy_rows:row")
    assert open_path(folder).read("values").tolist() == [5, 6]


def test_ours_come_first_and_load_no_plug_in(register: Callable[..., None], tmp_path: Path) -> None:
    register(toy="toy_rows:row")
    torch.save({"w": torch.ones(1)}, tmp_path / "a.pt")
    assert open_path(tmp_path / "a.pt").listing.format == "torch.save zip"
    assert "toy_rows" not in sys.modules
    script = "import sys; from tui_params.sources.detect import open_path; open_path(sys.argv[1]);"
    script += "print('importlib.metadata' in sys.modules, 'tui_params.sources.plugins' in sys.modules)"
    ran = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "a.pt")], capture_output=True, text=True, check=True
    )
    assert ran.stdout.split()[1] == "False"


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("toy_rows:missing", "is broken: AttributeError: module 'toy_rows' has no attribute 'missing'"),
        ("no_such_module:row", "is broken: ModuleNotFoundError: No module named 'no_such_module'"),
        ("toy_rows:open_it", "is broken: toy_rows:open_it is no Reader"),
        ("toy_rows:failing", "is broken: RuntimeError: no such luck"),
        ("toy_rows:undecided", "is broken: RuntimeError: no such luck"),
        ("toy_rows:nothing", "is broken: it opened x.bin as no Source"),
    ],
)
def test_a_broken_plug_in_is_one_sentence(
    register: Callable[..., None], toy: Path, value: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    register(toy=value)
    with pytest.raises(OpenError) as raised:
        open_path(toy)
    assert f"the plug-in toy of toy {words}" in str(raised.value)
    assert "\n" not in str(raised.value)
    if "undecided" not in value:
        with pytest.raises(OpenError, match="the plug-in toy of toy is broken"):
            open_path(toy, "toy")
    assert run(["ls", str(toy)]) == 3
    assert capsys.readouterr().err.count("\n") == 1


def test_a_broken_plug_in_does_not_stand_in_the_way_of_another(register: Callable[..., None], toy: Path) -> None:
    register(aaa="no_such_module:row", toy="toy_rows:row")
    assert open_path(toy).listing.format == "TOY"


def test_an_unknown_name_lists_what_there_is(register: Callable[..., None], toy: Path) -> None:
    register(toy="toy_rows:row")
    with pytest.raises(
        OpenError, match=r"no format 'tyo' that can be opened; the formats are safetensors, .*, folder, toy$"
    ):
        open_path(toy, "tyo")
