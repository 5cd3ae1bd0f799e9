"""Files appear whole or not at all, and never in the place of another one unasked."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.factories_safetensors import entry, file_bytes
from tui_params.api.opening import open_source
from tui_params.core.export import new_file
from tui_params.core.export.contents import Contents
from tui_params.core.export.new_file import write_file
from tui_params.errors import OccupiedError, ReadError, StoppedError, WriteError


def contents(*pieces: bytes, nbytes: int | None = None) -> Callable[[], Contents]:
    return lambda: Contents(iter(pieces), nbytes)


def failing(error: Exception) -> Callable[[], Contents]:
    def pieces() -> Iterator[bytes]:
        yield b"some"
        raise error

    return lambda: Contents(pieces())


def refused(path: Path | str, make: Callable[[], Contents] | None = None, **options: Any) -> str:
    with pytest.raises(WriteError) as caught:
        write_file(str(path), make or contents(b"new"), **options)
    return str(caught.value)


def system_error(code: int) -> Callable[..., Any]:
    def fail(*_: object, **__: object) -> Any:
        raise OSError(code, os.strerror(code))

    return fail


def test_a_file_is_written_whole(tmp_path: Path) -> None:
    told: list[tuple[int, int | None]] = []
    path = tmp_path / "x.csv"
    make = contents(b"abc", b"", b"de", nbytes=5)
    written, _ = write_file(str(path), make, progress=lambda done, total: told.append((done, total)))
    assert path.read_bytes() == b"abcde"
    assert written == 5
    assert told == [(3, 5), (3, 5), (5, 5)]
    umask = os.umask(0)
    os.umask(umask)
    assert path.stat().st_mode & 0o777 == 0o666 & ~umask
    assert os.listdir(tmp_path) == ["x.csv"]


def test_until_it_is_whole_it_is_not_there(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    seen: list[list[str]] = []

    def pieces() -> Iterator[bytes]:
        yield b"a"
        seen.append(os.listdir(tmp_path))

    write_file(str(path), lambda: Contents(pieces()))
    (names,) = seen
    assert len(names) == 1
    assert names[0].startswith(".tui-params-")


def test_a_file_that_is_there_is_replaced_only_if_asked(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_bytes(b"old")
    path.chmod(0o640)
    with pytest.raises(OccupiedError, match=r"x.csv exists already \(3 B\)"):
        write_file(str(path), contents(b"new"))
    assert path.read_bytes() == b"old"
    write_file(str(path), contents(b"new"), may_replace=True)
    assert path.read_bytes() == b"new"
    assert path.stat().st_mode & 0o777 == 0o640
    assert os.listdir(tmp_path) == ["x.csv"]


@pytest.mark.parametrize("links", [True, False])
def test_a_file_that_appears_meanwhile_is_not_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool
) -> None:
    if not links:  # as on FAT
        monkeypatch.setattr(os, "link", system_error(errno.EPERM))
    path = tmp_path / "x.csv"

    def pieces() -> Iterator[bytes]:
        path.write_bytes(b"theirs")
        yield b"ours"

    with pytest.raises(OccupiedError, match="by somebody else"):
        write_file(str(path), lambda: Contents(pieces()))
    assert path.read_bytes() == b"theirs"
    assert os.listdir(tmp_path) == ["x.csv"]
    path.unlink()
    write_file(str(path), contents(b"ours"))
    assert path.read_bytes() == b"ours"
    assert os.listdir(tmp_path) == ["x.csv"]


def test_a_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    real, link = tmp_path / "there" / "x.csv", tmp_path / "link.csv"
    real.write_bytes(b"old")
    link.symlink_to(real)
    with pytest.raises(OccupiedError):
        write_file(str(link), contents(b"new"))
    write_file(str(link), contents(b"new"), may_replace=True)
    assert link.is_symlink()
    assert real.read_bytes() == b"new"


def test_what_is_no_file_is_never_replaced(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert "pipe is a device or a pipe" in refused(tmp_path / "pipe", may_replace=True)
    assert "is a device or a pipe" in refused("/dev/null", may_replace=True)
    assert "is a folder: add the name of a file" in refused(tmp_path, may_replace=True)
    assert "is the name of a folder" in refused(f"{tmp_path}/new/")
    assert refused("  ") == "the file has no name yet: type one"
    assert "NUL" in refused("a\0b")
    assert os.listdir(tmp_path) == ["pipe"]


def test_what_is_open_is_never_replaced(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    before = file_bytes({"a": entry("U8", (3,), 0)}, b"abc")
    path.write_bytes(before)
    (tmp_path / "hard").hardlink_to(path)
    source = open_source(path)
    found = source.data_file(source.find("a"))
    assert found is not None
    for name in ("model.safetensors", "hard"):
        assert "is part of what is open here" in refused(tmp_path / name, may_replace=True, opened=[found[0]])
    assert path.read_bytes() == before
    write_file(str(tmp_path / "other"), contents(b"new"), opened=[found[0]])


def test_home_is_understood(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    write_file("~/x.csv", contents(b"a"))
    assert (tmp_path / "x.csv").read_bytes() == b"a"


@pytest.mark.parametrize("error", [ReadError("no"), StoppedError("no"), MemoryError(), OSError(5, "no")])
@pytest.mark.parametrize("there", [True, False])
def test_nothing_is_left_of_what_failed(tmp_path: Path, error: Exception, there: bool) -> None:
    path = tmp_path / "x.npy"
    if there:
        path.write_bytes(b"old")
    with pytest.raises(type(error)):
        write_file(str(path), failing(error), may_replace=there)
    assert os.listdir(tmp_path) == (["x.npy"] if there else [])
    assert not there or path.read_bytes() == b"old"


def test_it_stops_between_two_pieces(tmp_path: Path) -> None:
    asked: list[int] = []

    def should_stop() -> bool:
        asked.append(1)
        return len(asked) > 2

    with pytest.raises(StoppedError):
        write_file(str(tmp_path / "x"), contents(b"a", b"b", b"c"), should_stop=should_stop)
    assert len(asked) == 3
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("call", ["write", "fsync"])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, code: int) -> None:
    monkeypatch.setattr(os, call, system_error(code))
    assert refused(tmp_path / "x.npy") == f"no space is left for x.npy in {new_file._shown(str(tmp_path))}"
    assert os.listdir(tmp_path) == []


def test_what_is_larger_than_the_free_space_is_not_begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=9))
    assert "x.npy takes 10 B, and there are only 9 B free in " in refused(tmp_path / "x.npy", contents(nbytes=10))
    write_file(str(tmp_path / "x.npy"), contents(b"123456789", nbytes=9))
    assert os.listdir(tmp_path) == ["x.npy"]


def test_folders_that_are_not_there_or_read_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_bytes(b"")
    assert refused(tmp_path / "no" / "x").startswith("there is no folder ")
    assert refused(tmp_path / "file" / "x").startswith("there is no folder ")
    assert "cannot be written" in refused(tmp_path / ("x" * 300))
    for code in (errno.EROFS, errno.EACCES):
        monkeypatch.setattr(os, "open", system_error(code))
        assert refused(tmp_path / "x").startswith("nothing can be written in ")


def test_a_folder_that_is_there_and_takes_no_files_is_not_said_to_be_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "open", system_error(errno.ENOENT))  # as in /proc
    assert refused(tmp_path / "x.csv").endswith("no files can be made there")


def test_a_folder_that_vanishes(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()

    def pieces() -> Iterator[bytes]:
        yield b"a"
        shutil.rmtree(folder)

    assert refused(folder / "x", lambda: Contents(pieces())).startswith("there is no folder ")


def test_names_are_shown_clean(tmp_path: Path) -> None:
    path = tmp_path / "a\x1b[31m"
    path.write_bytes(b"")
    assert refused(path).startswith("a\\x1b[31m exists already")
