"""Addresses as paths: each server is mounted once, whatever is opened of it."""

from __future__ import annotations

import atexit
import re
import threading
from collections.abc import Callable
from pathlib import Path

from tui_params.sources.bytes.far import add_mount, find, is_far
from tui_params.sources.remote.mounted import Keeper, Mounted
from tui_params.sources.remote.transport import Transport

_LOCK = threading.Lock()
_MOUNTED: dict[object, Mounted] = {}
_NOT_IN_A_NAME = re.compile(r"[^\w.@:-]+")


def mount(base: object, connect: Callable[[], Transport], keeper: Keeper | None = None) -> Path:
    """The path of what lies at ``base``, which is equal for equal places. What is mounted already is listed anew."""
    with _LOCK:
        known = _MOUNTED.get(base)
        if known is not None:
            known.renew()
            return Path(f"//{known.name}")
        mounted = Mounted(connect(), "", keeper)
        last = mounted.address.rpartition("/")[2]
        path = add_mount(_NOT_IN_A_NAME.sub("_", last) or "_", mounted)
        mounted.name = path.name
        _MOUNTED[base] = mounted
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
