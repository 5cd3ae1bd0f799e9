"""Addresses as paths: each server is mounted once, whatever is opened of it."""

from __future__ import annotations

import atexit
import re
import threading
from pathlib import Path

from tui_params.sources.bytes.far import add_mount, find, is_far
from tui_params.sources.remote.mounted import Keeper, Mounted
from tui_params.sources.remote.transport import Transport

_LOCK = threading.Lock()
_MOUNTED: dict[object, Mounted] = {}
_IN_A_NAME = re.compile(r"[^\w.@-]+")


def mount_transport(key: object, transport: Transport, keeper: Keeper | None = None) -> Path:
    """The path of the files of a transport. ``key`` is equal for equal ones; what is mounted is listed anew."""
    with _LOCK:
        known = _MOUNTED.get(key)
        if known is not None:
            transport.close()
            known.renew()
            return Path(f"//{known.name}")
        mounted = Mounted(transport, "", keeper)
        path = add_mount(_IN_A_NAME.sub("+", mounted.address), mounted)
        mounted.name = path.name
        _MOUNTED[key] = mounted
        return path


def mounted_at(path: Path) -> Mounted | None:
    """What is mounted at a path; None of a path on this disk."""
    if not is_far(path):
        return None
    try:
        found, _ = find(path)
    except FileNotFoundError:
        return None
    return found if isinstance(found, Mounted) else None


@atexit.register
def close_all() -> None:
    """Give back the connections of everything that is mounted."""
    with _LOCK:
        while _MOUNTED:
            _MOUNTED.popitem()[1].close()
