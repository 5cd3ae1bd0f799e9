"""Files of a web server. It lists no folders: what lies beside a file is known by its name only."""

from __future__ import annotations

from urllib.parse import unquote, urlsplit

from tui_params.core.text import clean
from tui_params.errors import ReadError
from tui_params.sources.remote.address import Address
from tui_params.sources.remote.deadline import Limits
from tui_params.sources.remote.paths import inside
from tui_params.sources.remote.ranges import Question, Ranges, Whole, quoted
from tui_params.sources.remote.retries import Retries
from tui_params.sources.remote.transport import Entry, Piece
from tui_params.sources.remote.web_login import find_login
from tui_params.sources.remote.wire import Wire


class WebTransport:
    """The files below a URL, or the one of a URL with a query; a Transport."""

    def __init__(self, address: Address, retries: Retries | None = None, limits: Limits | None = None) -> None:
        self.address = address.shown
        parts = urlsplit(address.base)
        self._login = find_login(address.base)
        netloc = parts.netloc.rpartition("@")[2]
        self._base = parts._replace(netloc=netloc).geturl()
        self._retries = retries or Retries()
        self._wire = Wire(limits)
        self._ranges = Ranges(self._wire, self._retries)

    def __repr__(self) -> str:
        return f"WebTransport({self.address!r})"

    def look(self, path: str) -> Entry:
        """What lies at a path. The address itself is a folder, unless it is one file; that is known without asking."""
        name = path.rpartition("/")[2]
        if not path and not self._is_file:
            return Entry("", is_folder=True)
        try:
            found = self._ranges.look(self._question(path))
        except IsADirectoryError:
            return Entry(name, is_folder=True)
        if isinstance(found, Whole):
            return Entry(name, size=found.size, version=found.version, modified_ns=found.modified_ns)
        return Entry(name, size=found.size, version=found.version, modified_ns=found.modified_ns)

    def entries(self, path: str) -> None:
        """None: web servers list no folders."""

    def fetch(self, path: str, begin: int, end: int, version: str | None = None) -> Piece:
        """The bytes ``begin:end`` of a file."""
        part = self._ranges.fetch(self._question(path, version), begin, end)
        return Piece(part.data, part.size, part.version, part.modified_ns)

    def renew(self) -> None:
        """Nothing is kept of what was listed."""

    def close(self) -> None:
        """Close all connections; what waits fails at once."""
        self._retries.stop()
        self._wire.close()

    @property
    def _is_file(self) -> bool:
        return bool(urlsplit(self._base).query)

    def _question(self, path: str, version: str | None = None) -> Question:
        if not path and not self._is_file:
            raise ReadError(f"{self.address} is a folder, not a file")
        if path and self._is_file:
            raise FileNotFoundError(f"{self.address} is one file, and there is nothing below it")
        shown = clean(path or unquote(urlsplit(self._base).path.rpartition("/")[2]), 120)
        url = self._base + quoted(inside(path))
        return Question(url, shown, self._login.headers, version, self._login.hint)
