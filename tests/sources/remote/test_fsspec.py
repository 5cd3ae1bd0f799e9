"""What fsspec opens: exact ranges, one plain sentence for whatever its file systems raise."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tui_params.errors import OpenError, ReadError, SourceChangedError
from tui_params.sources.remote.connect import connect

fsspec: Any = pytest.importorskip("fsspec", reason="fsspec is not installed")

DATA = bytes(range(256)) * 100


@pytest.fixture
def memory() -> Iterator[Any]:
    """A file system in the memory of this process, with a run in it."""
    files = fsspec.filesystem("memory")
    files.pipe({"/run/step/a.bin": DATA, "/run/step/b/c.bin": b"c", "/run/top.bin": b"top"})
    yield files
    files.rm("/run", recursive=True)


def test_files_and_folders(memory: Any) -> None:
    transport = connect("memory://run/step")
    assert transport.address == "memory://run"
    entry = transport.look("step/a.bin")
    assert (entry.size, entry.is_folder) == (len(DATA), False)
    assert entry.version is not None
    piece = transport.fetch("step/a.bin", 100, 200, entry.version)
    assert (piece.data, piece.size, piece.version) == (DATA[100:200], len(DATA), entry.version)
    assert transport.fetch("step/a.bin", 25_590, 30_000).data == DATA[25_590:]
    assert transport.fetch("step/a.bin", 25_600, 30_000).data == b""
    found = transport.entries("step")
    assert found is not None
    assert {each.name: each.is_folder for each in found} == {"a.bin": False, "b": True}
    assert {each.name for each in transport.entries("") or ()} == {"step", "top.bin"}
    assert transport.look("step").is_folder
    assert transport.look("").is_folder


def test_a_file_that_changes_is_told(memory: Any) -> None:
    transport = connect("memory://run/top.bin")
    version = transport.look("top.bin").version
    memory.pipe("/run/top.bin", b"another")
    with pytest.raises(SourceChangedError, match=r"^top\.bin was changed after it was opened; open it again$"):
        transport.fetch("top.bin", 0, 1, version)


def test_what_is_absent_or_leads_out(memory: Any) -> None:
    transport = connect("memory://run/top.bin")
    for ask in (transport.look, transport.entries, lambda path: transport.fetch(path, 0, 1)):
        with pytest.raises(FileNotFoundError, match=r"^memory://run has no absent$"):
            ask("absent")
        with pytest.raises(ReadError, match="leads out"):
            ask("../other")
    with pytest.raises(ReadError, match="is no file"):
        transport.fetch("step", 0, 1)
    transport.close()
    with pytest.raises(ReadError, match="was closed"):
        transport.look("top.bin")


def test_only_the_range_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "f").write_bytes(DATA)
    counts: list[int] = []
    local = fsspec.get_filesystem_class("local")

    class Counting(fsspec.spec.AbstractFileSystem):  # type: ignore[misc]
        protocol = "counting"
        cachable = False

        def info(self, path: str, **options: Any) -> dict[str, Any]:
            found: dict[str, Any] = local().info(self._strip_protocol(path))
            return found

        def _open(self, path: str, mode: str = "rb", **options: Any) -> Any:
            return Buffered(self, path, mode, **options)

    class Buffered(fsspec.spec.AbstractBufferedFile):  # type: ignore[misc]
        def _fetch_range(self, start: int, end: int) -> bytes:
            counts.append(end - start)
            return DATA[start:end]

    fsspec.register_implementation("counting", Counting, clobber=True)
    transport = connect(f"counting://{tmp_path}/f")
    assert transport.fetch("f", 1000, 1300).data == DATA[1000:1300]
    assert counts == [300]


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (PermissionError("SECRET"), r"does not allow access to f$"),
        (TimeoutError("SECRET"), r"did not answer in time$"),
        (ValueError("bad https://u:SECRET@h/x?token=SECRET\nDebug: SECRET"), r"cannot be read: bad https://h/x$"),
        (RuntimeError(), r"cannot be read: RuntimeError$"),
    ],
)
def test_whatever_a_file_system_raises_is_one_sentence(
    memory: Any, monkeypatch: pytest.MonkeyPatch, error: Exception, sentence: str
) -> None:
    transport: Any = connect("memory://run/f")

    def fails(*arguments: Any, **options: Any) -> Any:
        raise error

    monkeypatch.setattr(transport._files, "info", fails, raising=False)
    with pytest.raises(ReadError, match=sentence) as caught:
        transport.look("f")
    assert "SECRET" not in f"{caught.value} {transport!r}"


def test_a_scheme_that_nothing_opens() -> None:
    with pytest.raises(OpenError, match=r"^nothing that is installed opens gopher:// addresses$"):
        connect("gopher://host/x")


def test_a_scheme_whose_package_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    fsspec.register_implementation("missing", "no_such_package.Files", clobber=True, errtxt="install no_such_package")
    with pytest.raises(
        OpenError, match=r"^nothing that is installed opens missing:// addresses: install no_such_package$"
    ):
        connect("missing://host/x")


def test_a_password_is_never_shown() -> None:
    with pytest.raises(OpenError) as caught:
        connect(f"ftp://me:SECRET@127.0.0.1:{1}/a/b")
    assert "SECRET" not in str(caught.value)
    assert str(caught.value).startswith("ftp://me@127.0.0.1:1/a cannot be opened")
    assert os.linesep not in str(caught.value)
