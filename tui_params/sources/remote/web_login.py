"""The login that a user has written down for a web server: in the address itself, or in ``~/.netrc``."""

from __future__ import annotations

import netrc
import os
from base64 import b64encode
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import msgspec


class Login(msgspec.Struct, frozen=True):
    """Headers for one server, and one sentence on where they come from, or why there are none."""

    headers: dict[str, str]
    hint: str

    def __repr__(self) -> str:
        return f"Login({self.hint!r})"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return [("hint", self.hint)]


def find_login(url: str) -> Login:
    """The login for the host of ``url``. Over plain http nothing is sent, but to this machine itself."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    place = "the address"
    pair = None
    if parts.username is not None:
        pair = (unquote(parts.username), unquote(parts.password or ""))
    elif (found := _from_netrc(host)) is not None:
        place, pair = "~/.netrc", found
    if pair is None:
        signed = "the signed address may have expired" if parts.query else f"put a login for {host} into ~/.netrc"
        return Login({}, signed)
    if not is_private(url):
        return Login({}, f"the login of {place} is sent over https only")
    text = b64encode(f"{pair[0]}:{pair[1]}".encode()).decode()
    return Login({"Authorization": f"Basic {text}"}, f"the login of {place} was refused")


def is_private(url: str) -> bool:
    """Whether nobody on the way can read what is sent: https, or this machine itself."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if parts.scheme == "https" or host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _from_netrc(host: str) -> tuple[str, str] | None:
    """User and password of the file that NETRC names, or of ``~/.netrc``; a file that others own is left alone."""
    path = Path(os.environ.get("NETRC") or "~/.netrc").expanduser()
    try:
        found = netrc.netrc(str(path)).authenticators(host)
    except (OSError, netrc.NetrcParseError, UnicodeDecodeError):
        return None
    return (found[0] or "", found[2] or "") if found else None
