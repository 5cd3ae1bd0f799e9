"""Transport: what a server says of its files, and the ranges of them that it sends."""

from __future__ import annotations

from typing import Protocol

import msgspec


class Entry(msgspec.Struct, frozen=True, gc=False):
    """A file or a folder on a server.

    ``name`` is the last part of its path. ``size`` is in bytes, None where the server does not say. ``version`` is
    what changes with the content: an ETag, a revision and digest, or a size and time; None if there is nothing such.
    ``digest`` is the SHA-256 that the server keeps of a file, in hex, if it does. ``modified_ns`` counts from 1970, 0
    where it is not known.
    """

    name: str
    is_folder: bool = False
    size: int | None = None
    version: str | None = None
    modified_ns: int = 0
    digest: str | None = None


class Piece(msgspec.Struct, frozen=True, gc=False):
    """Bytes that a server sent, with the size of the whole file in bytes and its version, as in Entry."""

    data: bytes
    size: int
    version: str | None = None
    modified_ns: int = 0


class Transport(Protocol):
    """Files below one address. Every method may be called from any thread, and from several at once.

    ``address`` is what the user is shown of it, such as ``https://host/models``: never a query, a password or a token.
    A ``path`` is relative to it, with ``/`` between its parts; the address itself is ``""``. The methods raise
    FileNotFoundError where the server says that there is no such file, SourceChangedError where it is no longer the one
    of ``version``, and ReadError, with one sentence for the user, for whatever else is wrong. Nothing waits for ever.
    """

    address: str

    def look(self, path: str) -> Entry:
        """What lies at a path, at the cost of one request at most."""

    def entries(self, path: str) -> tuple[Entry, ...] | None:
        """What lies in a folder; None where this kind of server lists no folders."""

    def fetch(self, path: str, begin: int, end: int, version: str | None = None) -> Piece:
        """The bytes ``begin:end`` of a file, fewer only where it ends before ``end``; empty from its end on.

        One request. ``version`` is the one that the file must still have, or None.
        """

    def renew(self) -> None:
        """Forget what was listed: it may have changed since."""

    def close(self) -> None:
        """Give back connections and threads. Nothing is fetched afterwards."""
