"""The writing of one file that the user asked for: whole or not at all, and never over another one unasked."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from stat import S_IMODE, S_ISDIR, S_ISREG

from tui_params.core import text
from tui_params.core.export.contents import Contents, Piece
from tui_params.core.reading.readable import FileStamp
from tui_params.errors import OccupiedError, StoppedError, WriteError

_NO_LINKS = (errno.EPERM, errno.EACCES, errno.ENOSYS, errno.EMLINK, errno.ENOTSUP, errno.EOPNOTSUPP)
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT)
_SHOWN = 60
"""Characters of a path in a sentence."""


def write_file(
    path: str,
    make: Callable[[], Contents],
    *,
    may_replace: bool = False,
    opened: Iterable[FileStamp] = (),
    should_stop: Callable[[], bool] | None = None,
    progress: Callable[[int, int | None], None] | None = None,
) -> tuple[int, Contents]:
    """Write what ``make`` makes to ``path`` (``~`` is the home folder); returns its bytes, and it.

    Until the file is whole it has a hidden name in the same folder, and is removed if it does not come to that.
    A file that is there is replaced only if ``may_replace``, and never if it is one of ``opened``. ``should_stop`` is
    called before each piece, ``progress`` after each with the bytes so far and of all, if that is known.
    Raises OccupiedError if there is a file, other WriteErrors, StoppedError, and what ``make`` and its pieces raise.
    """
    target = _target(path)
    folder, name = os.path.split(target)
    mode = _check_place(target, may_replace, opened)
    contents = make()
    hidden = os.path.join(folder, f".tui-params-{secrets.token_hex(6)}.part")
    with _told(target):
        free = shutil.disk_usage(folder).free
        if contents.nbytes is not None and contents.nbytes > free:
            takes, has = text.size(contents.nbytes), text.size(free)
            raise WriteError(f"{_shown(name)} takes {takes}, and there are only {has} free in {_shown(folder)}")
        descriptor = os.open(hidden, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
    try:
        try:
            written = _fill(descriptor, target, contents, should_stop, progress)
            if mode is not None:
                with suppress(OSError):
                    os.fchmod(descriptor, mode)
            # A quota, or a full disk behind a network, may be told only now.
            with _told(target):
                os.fsync(descriptor)
        finally:
            os.close(descriptor)
        with _told(target):
            _publish(hidden, target, may_replace)
    finally:
        with suppress(OSError):
            os.unlink(hidden)
    return written, contents


def _target(path: str) -> str:
    """The file that a path means, behind any links. Raises WriteError."""
    if not path.strip():
        raise WriteError("the file has no name yet: type one")
    if "\0" in path:
        raise WriteError("a file name cannot hold a NUL character")
    try:
        expanded = os.path.expanduser(path)
        if expanded.endswith(os.sep):
            raise WriteError(f"{_shown(path)} is the name of a folder: add that of a file")
        return os.path.realpath(expanded)
    except UnicodeEncodeError as error:
        raise WriteError(f"{_shown(path)} cannot be the name of a file here") from error
    except OSError as error:  # the current folder is gone
        raise WriteError(f"the current folder cannot be used: {error.strerror}") from error


def _check_place(target: str, may_replace: bool, opened: Iterable[FileStamp]) -> int | None:
    """The mode of the file that is to be replaced; None if there is none. Raises WriteError."""
    name = _shown(os.path.basename(target))
    try:
        there = os.stat(target)
    except FileNotFoundError as error:
        if not os.path.isdir(os.path.dirname(target)):
            # Told before what is written has been made, which may take long.
            raise WriteError(_reason(error, target)) from error
        return None
    except UnicodeEncodeError as error:
        raise WriteError(f"{name} cannot be the name of a file here") from error
    except OSError as error:
        raise WriteError(_reason(error, target)) from error
    if S_ISDIR(there.st_mode):
        raise WriteError(f"{_shown(target)} is a folder: add the name of a file")
    if not S_ISREG(there.st_mode):
        raise WriteError(f"{_shown(target)} is a device or a pipe, not a file")
    if any((stamp.device, stamp.inode) == (there.st_dev, there.st_ino) for stamp in opened):
        raise WriteError(f"{name} is part of what is open here, and is not written over: choose another name")
    if not may_replace:
        raise OccupiedError(f"{name} exists already ({text.size(there.st_size)})")
    return S_IMODE(there.st_mode)


def _fill(
    descriptor: int,
    target: str,
    contents: Contents,
    should_stop: Callable[[], bool] | None,
    progress: Callable[[int, int | None], None] | None,
) -> int:
    written = 0

    def stop_if_asked() -> None:
        if should_stop is not None and should_stop():
            raise StoppedError(f"the writing of {_shown(os.path.basename(target))} was stopped")

    stop_if_asked()
    for piece in contents.pieces:
        stop_if_asked()
        with _told(target):
            written += _write(descriptor, piece)
        if progress is not None:
            progress(written, contents.nbytes)
    stop_if_asked()
    return written


def _write(descriptor: int, piece: Piece) -> int:
    left = memoryview(piece)
    while left:
        left = left[os.write(descriptor, left) :]
    return len(piece)


def _publish(hidden: str, target: str, may_replace: bool) -> None:
    """Give the file its name."""
    if may_replace:
        os.replace(hidden, target)
        return
    # A plain rename would replace a file that somebody else has written meanwhile.
    try:
        os.link(hidden, target)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666))
        os.replace(hidden, target)


@contextmanager
def _told(target: str) -> Iterator[None]:
    """Turns what the system says about a file into a sentence."""
    try:
        yield
    except FileExistsError as error:
        name = _shown(os.path.basename(target))
        raise OccupiedError(f"{name} exists now: it was written by somebody else meanwhile") from error
    except OSError as error:
        raise WriteError(_reason(error, target)) from error


def _reason(error: OSError, target: str) -> str:
    folder, name = map(_shown, os.path.split(target))
    if error.errno in _NO_SPACE:
        return f"no space is left for {name} in {folder}"
    if error.errno in (errno.ENOENT, errno.ENOTDIR) and not os.path.isdir(os.path.dirname(target)):
        return f"there is no folder {folder}"
    if error.errno == errno.ENOENT:
        # What /proc says of every new name.
        return f"{name} cannot be made in {folder}: no files can be made there"
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"nothing can be written in {folder}: {error.strerror}"
    return f"{name} cannot be written in {folder}: {error.strerror or error}"


def _shown(path: str) -> str:
    return text.clean(path, _SHOWN)
