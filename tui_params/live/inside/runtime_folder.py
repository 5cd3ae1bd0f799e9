"""The folder of this user's sockets, and who may use it: nobody else."""

from __future__ import annotations

import os
import stat
import tempfile
from contextlib import suppress

SUFFIX = ".sock"


def folder_path() -> str:
    """Where the sockets of this user's models are: below ``XDG_RUNTIME_DIR``, else in the temporary folder."""
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    if runtime and os.path.isabs(runtime) and why_unsafe(runtime) is None:
        return os.path.join(runtime, "tui-params")
    return os.path.join(tempfile.gettempdir(), f"tui-params-{os.getuid()}")


def make_folder() -> str:
    """The folder of sockets, made if it is missing. Raises OSError; PermissionError if it is not safe to use."""
    path = folder_path()
    with suppress(FileExistsError):
        os.mkdir(path, 0o700)
    reason = why_unsafe(path)
    if reason is not None:
        raise PermissionError(f"{path} {reason}")
    return path


def why_unsafe(path: str) -> str | None:
    """Why a folder must not hold a socket, as the end of a sentence; None if only this user can enter it."""
    try:
        status = os.lstat(path)
    except OSError as error:
        return f"cannot be used: {error.strerror}"
    if not stat.S_ISDIR(status.st_mode):
        return "is not a folder"
    if status.st_uid != os.getuid():
        return f"belongs to another user ({status.st_uid})"
    if status.st_mode & 0o077:
        return "can be entered by other users"
    return None
