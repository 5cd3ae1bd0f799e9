"""Repositories of the Hugging Face Hub, at the commit that a revision stood for when it was opened."""

from __future__ import annotations

import threading

from tui_params.core.text import clean
from tui_params.errors import OpenError, ReadError, SourceChangedError
from tui_params.sources.remote.address import Address
from tui_params.sources.remote.deadline import Limits
from tui_params.sources.remote.hub_settings import HubSettings, read_settings
from tui_params.sources.remote.hub_tree import Repository, Tree, read_tree
from tui_params.sources.remote.paths import inside
from tui_params.sources.remote.ranges import Question, Ranges, quoted
from tui_params.sources.remote.retries import Retries
from tui_params.sources.remote.transport import Entry, Piece
from tui_params.sources.remote.wire import Wire, host_of

_MOST_IN_GIT = 10 << 20
"""Larger files must be in LFS, which sends ranges; smaller ones may come from git itself."""


class HubTransport:
    """The files of one repository; a Transport.

    Two requests tell all of its files, with their sizes and digests; they are made when something is first asked for.
    """

    def __init__(
        self,
        address: Address,
        retries: Retries | None = None,
        limits: Limits | None = None,
        settings: HubSettings | None = None,
    ) -> None:
        """Asks nothing yet. Raises OpenError if the user has switched the hub off."""
        self.address = address.shown
        self._settings = settings or read_settings()
        if self._settings.is_offline:
            raise OpenError(f"{self.address} is not asked for: HF_HUB_OFFLINE or TRANSFORMERS_OFFLINE is set")
        self._repository = _repository(address.base)
        self._retries = retries or Retries()
        self._wire = Wire(limits)
        self._ranges = Ranges(self._wire, self._retries)
        self._lock = threading.Lock()
        self._tree: Tree | None = None

    def __repr__(self) -> str:
        return f"HubTransport({self.address!r})"

    def look(self, path: str) -> Entry:
        """What lies at a path, by the list of all files."""
        entry = self._listed().entries.get(inside(path))
        if entry is None:
            raise FileNotFoundError(f"{self.address} has no {clean(path, 120)}")
        return entry

    def entries(self, path: str) -> tuple[Entry, ...]:
        """What lies in a folder, by the list of all files."""
        if not self.look(path).is_folder:
            raise ReadError(f"{clean(path, 120)} is a file, not a folder")
        return tuple(self._listed().folders[path])

    def fetch(self, path: str, begin: int, end: int, version: str | None = None) -> Piece:
        """The bytes ``begin:end`` of a file; nothing is asked for beyond its end."""
        entry = self.look(path)
        shown = clean(path, 120)
        if entry.is_folder or entry.size is None:
            raise ReadError(f"{shown} is a folder, not a file")
        if version is not None and version != entry.version:
            raise SourceChangedError(f"{shown} was changed on {self._host} after it was opened; open it again")
        if begin >= min(end, entry.size):
            return Piece(b"", entry.size, entry.version)
        url = f"{self._settings.endpoint}/{self._repository.prefix}/resolve/{self._listed().sha}/{quoted(path)}"
        part = self._ranges.fetch(self._question(url, shown), begin, end)
        if part.size != entry.size:
            raise ReadError(
                f"{self._host} lists {shown} with {entry.size:,} bytes, and sends another file, of {part.size:,} bytes"
            )
        return Piece(part.data, part.size, entry.version, entry.modified_ns)

    def renew(self) -> None:
        """The next question about a file asks for the commit and the list anew."""
        with self._lock:
            self._tree = None

    def close(self) -> None:
        """Close all connections; what waits fails at once."""
        self._retries.stop()
        self._wire.close()

    @property
    def _host(self) -> str:
        return host_of(self._settings.endpoint)

    def _question(self, url: str, file: str) -> Question:
        return Question(url, file, self._settings.headers, hint=self._settings.hint, whole=_MOST_IN_GIT)

    def _listed(self) -> Tree:
        with self._lock:
            if self._tree is None:
                endpoint = self._settings.endpoint
                self._tree = read_tree(self._ranges, endpoint, self._repository, self._question("", ""))
            return self._tree


def _repository(base: str) -> Repository:
    """``hf://datasets/org/name@revision``, taken apart."""
    name, _, revision = base.removeprefix("hf://").partition("@")
    kind = "models"
    for other in ("datasets", "spaces"):
        if name.startswith(f"{other}/"):
            kind, name = other, name.removeprefix(f"{other}/")
    return Repository(kind, name, revision or "main")
