"""What a user gives for a checkpoint, as a path: a name on this disk, or an address whose server is mounted."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, TypeAlias

from tui_params.core.text import clean
from tui_params.errors import OpenError
from tui_params.sources.bytes.far import is_far, is_mounted
from tui_params.sources.bytes.files import is_there

if TYPE_CHECKING:
    from tui_params.sources.remote.mounted import Keeper

    Keepers: TypeAlias = Callable[[], Keeper | None]

_SCHEME = "://"

_SLIP = re.compile(r"(https?|hf|s3|gs|az|ssh):/?[^/]", re.IGNORECASE)
_MODEL = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
"""An organisation and a model of the hub, as its pages call them."""


def find_path(given: str, keepers: Keepers | None = None) -> Path:
    """The path of what was given; ``~`` is expanded. ``keepers`` makes what keeps parts of remote files.

    Nothing is asked of a server yet. Raises OpenError.
    """
    if is_address(given):
        return _mount(given, keepers)
    try:
        full = Path(_without_scheme(given)).expanduser()
    except (ValueError, RuntimeError) as error:
        # A "~user" that does not exist.
        raise OpenError(f"{clean(given, 200)} is not a valid path: {clean(str(error), 120)}") from None
    if is_far(full) and not is_mounted(full):
        # What two slashes mean is left to the system, and Linux and macOS read them as one.
        return Path(str(full)[1:])
    return full


def meant(missing: str) -> str:
    """What may have been meant by the name of something that does not exist, as the end of a sentence; else ``""``."""
    slip = _SLIP.match(missing)
    if slip is not None:
        return f"; an address is written {slip[1].lower()}://…"
    suffix = PurePath(missing).suffix[1:]
    is_file = suffix.isalpha() and suffix.islower()
    if is_file or not _MODEL.fullmatch(missing) or is_there(Path(missing.partition("/")[0])):
        return ""
    return f"; a model of the Hugging Face Hub is written hf://{missing}"


def _without_scheme(given: str) -> str:
    """``file:///data/x.pt`` is the path /data/x.pt, percent signs decoded (RFC 8089)."""
    if not given.startswith("file:///"):
        return given
    from urllib.parse import unquote

    return unquote(given.removeprefix("file://"))


def _mount(given: str, keepers: Keepers | None) -> Path:
    from tui_params.sources.remote.address import parse_address
    from tui_params.sources.remote.connect import connect
    from tui_params.sources.remote.mounting import mount

    address = parse_address(given)
    base = mount(address.base, lambda: connect(address), keepers() if keepers is not None else None)
    return base / address.path if address.path else base


def is_address(given: str) -> bool:
    """Whether it is an address, and no name on this disk."""
    if _SCHEME not in given:
        return False
    from tui_params.sources.remote import address

    return address.is_address(given)


def shown(given: str) -> str:
    """What was given as it may be shown: of an address, neither a query nor a password."""
    if not is_address(given):
        return given
    from tui_params.sources.remote.address import parse_address

    try:
        return parse_address(given).text
    except OpenError:
        return f"{given.partition(_SCHEME)[0]}{_SCHEME}…"
