"""The folder of a user's sockets, and who may use it: nobody else."""

from __future__ import annotations

import os
import stat
import tempfile
from contextlib import suppress

SUFFIX = ".sock"


def folder_path(uid: int = -1) -> str:
    """Where the sockets of a user's models are, by default this user's own.

    Below ``XDG_RUNTIME_DIR`` if that is safe, else, and for another user, in the folder for temporary files.
    """
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    if uid in (-1, os.getuid()) and os.path.isabs(runtime) and why_unsafe(runtime) is None:
        return os.path.join(runtime, "tui-params")
    return os.path.join(tempfile.gettempdir(), f"tui-params-{os.getuid() if uid == -1 else uid}")


def make_folder(path: str = "", uid: int = -1) -> str:
    """The folder of sockets, made if it is missing. Raises OSError; PermissionError if it is not safe to use.

    For another user only root can make it.
    """
    path = path or folder_path(uid)
    with suppress(FileExistsError):
        os.mkdir(path, 0o700)
        if uid not in (-1, os.getuid()):
            os.chown(path, uid, -1)
    reason = why_unsafe(path, uid)
    if reason is not None:
        raise PermissionError(f"{path} {reason}")
    return path


def why_unsafe(path: str, uid: int = -1) -> str | None:
    """Why a folder must not hold a socket, as the end of a sentence; None if only its user can enter it."""
    try:
        status = os.lstat(path)
    except OSError as error:
        return f"cannot be used: {error.strerror}"
    if not stat.S_ISDIR(status.st_mode):
        return "is not a folder"
    if status.st_uid != (os.getuid() if uid == -1 else uid):
        return f"belongs to another user ({status.st_uid})"
    if status.st_mode & 0o077:
        return "can be entered by other users"
    return None
