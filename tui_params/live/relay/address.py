"""Addresses of models on other machines: ``ssh://[user@]host[:port][/PID|NAME]``."""

from __future__ import annotations

from urllib.parse import unquote, urlsplit

import msgspec

from tui_params.core.text import clean
from tui_params.errors import OpenError

SCHEME = "ssh://"


class Host(msgspec.Struct, frozen=True):
    """Where ``ssh`` is to log in, as the user types it: names of ``~/.ssh/config`` too. ``port`` 0 leaves it to ssh."""

    name: str
    user: str = ""
    port: int = 0

    @property
    def text(self) -> str:
        """As an address."""
        name = f"[{self.name}]" if ":" in self.name else self.name
        return f"{SCHEME}{f'{self.user}@' if self.user else ''}{name}{f':{self.port}' if self.port else ''}"


def is_far(text: str) -> bool:
    """Whether it is such an address."""
    return text[: len(SCHEME)].lower() == SCHEME


def parse_far(text: str) -> tuple[Host, str]:
    """The host of an address, and the PID or the name after it, empty if there is none. Raises OpenError."""
    rest = text[len(SCHEME) :]
    place, _, which = rest.partition("/")
    try:
        url = urlsplit(f"{SCHEME}{place}")
        name, port = url.hostname, url.port
    except ValueError:
        raise OpenError(f"{clean(text, 120)} has no valid host or port") from None
    if url.password is not None:
        raise OpenError("an ssh:// address takes no password: use a key, ssh-agent or ~/.ssh/config")
    # urlsplit makes the name lowercase, and names in ~/.ssh/config are not.
    host = place.rpartition("@")[2]
    if name and not host.startswith("["):
        name = host.partition(":")[0]
    user = url.username or ""
    if not name or any(word.startswith("-") or not word.isprintable() or " " in word for word in (name, user)):
        raise OpenError(f"{clean(text, 120)} names no host: write ssh://host, ssh://user@host or ssh://host/PID")
    return Host(name, unquote(user), port or 0), unquote(which)
