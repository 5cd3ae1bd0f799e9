"""Ranges of files over HTTP: redirects followed, answers compared with what was asked, faults repeated."""

from __future__ import annotations

import re
import threading
from collections import OrderedDict
from collections.abc import Mapping
from contextlib import suppress
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import quote, urljoin, urlsplit, urlunsplit

import msgspec

from tui_params.core.text import clean, size
from tui_params.errors import ReadError, SourceChangedError
from tui_params.sources.remote.faults import refused
from tui_params.sources.remote.retries import AgainError, Retries, seconds_to_wait
from tui_params.sources.remote.wire import Answer, Wire, host_of, origin_of

SMALL_NBYTES = 1_000_000
"""A file that may be taken as a whole, or the body of a redirect."""

_MOST_REDIRECTS = 8
_MOST_KEPT = 10_000
_MOST_EXPLAINED = 1 << 14
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_PERHAPS_EXPIRED = frozenset({400, 401, 403, 404, 410})
"""What servers say of a signed redirect whose time is over."""

_CONTENT_RANGE = re.compile(r"bytes (?:(\d{1,18})-(\d{1,18})|\*)/(\d{1,18})", re.IGNORECASE)
_UNQUOTED_SIGNS = "/%:@!$&'()*+,;=~-._"


class Question(msgspec.Struct, frozen=True):
    """A file that is asked for: its URL, what it is called to the user, headers for the URL's own host, and conditions.

    ``hint`` says what to do about an answer of 401 or 403. A file of up to ``whole`` bytes is taken from a server that
    sends only whole ones.
    """

    url: str
    file: str
    secrets: Mapping[str, str] = {}
    version: str | None = None
    hint: str = ""
    whole: int = SMALL_NBYTES

    def __repr__(self) -> str:
        return f"Question({self.file!r})"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return [("file", self.file)]


class Part(msgspec.Struct, frozen=True):
    """Bytes of a file, the size of the whole, and its version as the server tells it."""

    data: bytes
    size: int
    version: str | None
    modified_ns: int


class Whole(msgspec.Struct, frozen=True):
    """What a server that sends no ranges says of a file, none of which was read. The size may be unknown."""

    size: int | None
    version: str | None
    modified_ns: int


class Ranges:
    """Asks for ranges. Thread-safe. Where redirects lead is kept in memory only, for it may be signed."""

    def __init__(self, wire: Wire, retries: Retries) -> None:
        self._wire = wire
        self._retries = retries
        self._lock = threading.Lock()
        self._targets: OrderedDict[str, str] = OrderedDict()

    def look(self, question: Question) -> Part | Whole:
        """The first byte, or what is said instead of it. Raises as ``fetch``, and IsADirectoryError."""

        def attempt() -> Part | Whole:
            answer = self._follow(question, {"Range": "bytes=0-0"})
            try:
                if answer.status == 200 and (answer.length is None or answer.length > question.whole):
                    return Whole(answer.length, version_of(answer, answer.length), modified_of(answer))
                return self._read(answer, question, 0, 1)
            finally:
                answer.close()

        return self._retries.run(attempt)

    def fetch(self, question: Question, begin: int, end: int) -> Part:
        """The bytes ``begin:end``, fewer only at the end of the file.

        Raises FileNotFoundError, SourceChangedError, ReadError.
        """
        # An empty range cannot be asked for.
        last = max(begin + 1, end)
        received = bytearray()
        version: list[str | None] = [question.version]

        def attempt() -> Part:
            first = begin + len(received)
            headers = {"Range": f"bytes={first}-{last - 1}"}
            if (version[0] or "").startswith('"'):
                headers["If-Match"] = version[0] or ""
            answer = self._follow(question, headers)
            try:
                part = self._read(answer, question, first, last)
            finally:
                answer.close()
            # Beyond the end some servers name no version; where there are bytes it is needed.
            if version[0] is not None and part.version != version[0] and (part.data or part.version):
                raise _changed(answer, question)
            version[0] = version[0] or part.version
            wanted = min(last, part.size) - begin
            if len(part.data) == wanted and end > begin:
                return part
            done = len(received) + len(part.data)
            if part.version is not None:
                # Without a version nothing would say that the next answer goes on where this one breaks off.
                received.extend(part.data)
            if done < wanted:
                raise AgainError(
                    f"{answer.host} closed the connection after {size(done)} of the {size(wanted)} of {question.file}"
                )
            data = bytes(received) if end > begin else b""
            return Part(data, part.size, part.version, part.modified_ns)

        try:
            return self._retries.run(attempt)
        except IsADirectoryError as error:
            raise ReadError(str(error)) from None

    def text(self, question: Question, most: int) -> tuple[bytes, str | None]:
        """A whole answer of up to ``most`` bytes, and where its next page is. Raises as ``fetch``."""

        def attempt() -> tuple[bytes, str | None]:
            answer = self._follow(question, {})
            try:
                if answer.status != 200:
                    raise _refused(answer, question)
                data = answer.body(most + 1)
                if len(data) > most:
                    raise ReadError(f"{answer.host} answers with more than {size(most)} to {question.file}")
                if answer.length is not None and len(data) < answer.length:
                    raise AgainError(f"{answer.host} closed the connection before its answer was complete")
                return bytes(data), _next_page(answer, question.url)
            finally:
                answer.close()

        return self._retries.run(attempt)

    def _follow(self, question: Question, headers: Mapping[str, str]) -> Answer:
        """The answer at the end of all redirects. Raises ReadError, AgainError, IsADirectoryError."""
        with self._lock:
            start = self._targets.get(question.url, question.url)
        try:
            answer, url = self._walk(question, start, headers)
        except (AgainError, ReadError):
            with self._lock:
                self._targets.pop(question.url, None)
            raise
        if start != question.url and answer.status in _PERHAPS_EXPIRED:
            answer.close()
            answer, url = self._walk(question, question.url, headers)
        with self._lock:
            self._targets.pop(question.url, None)
            if url != question.url and answer.status in (200, 206):
                self._targets[question.url] = url
                if len(self._targets) > _MOST_KEPT:
                    self._targets.popitem(last=False)
        return answer

    def _walk(self, question: Question, url: str, headers: Mapping[str, str]) -> tuple[Answer, str]:
        origin = origin_of(question.url)
        seen: set[str] = set()
        while True:
            seen.add(url)
            is_own = origin_of(url) == origin
            answer = self._wire.request(url, {**headers, **question.secrets} if is_own else headers)
            if answer.status not in _REDIRECTS:
                return answer, url
            location = answer.headers.get("Location")
            answer.body(SMALL_NBYTES)
            answer.close()
            target = _target(url, location, answer.host)
            is_same = urlsplit(target).path == urlsplit(url).path + "/" and "Range" in headers
            if is_same and origin_of(target) == origin_of(url):
                raise IsADirectoryError(f"{question.file} is a folder of {answer.host}")
            if target in seen or len(seen) > _MOST_REDIRECTS:
                raise ReadError(f"{answer.host} redirects in a circle for {question.file}")
            url = target

    def _read(self, answer: Answer, question: Question, begin: int, end: int) -> Part:
        """What an answer has of ``begin:end``, fewer bytes where it breaks off."""
        coding = answer.headers.get("Content-Encoding", "identity").strip().lower()
        if answer.status in (200, 206) and coding not in ("", "identity"):
            raise ReadError(
                f"{answer.host} sends {question.file} compressed ({clean(coding, 20)}) although it was asked not to"
            )
        if answer.status == 200:
            return self._from_whole(answer, question, begin, end)
        found = _CONTENT_RANGE.fullmatch(answer.headers.get("Content-Range", "").strip())
        if answer.status == 416 and found and found.group(1) is None and begin >= int(found.group(3)):
            answer.body(SMALL_NBYTES)
            return Part(b"", int(found.group(3)), answer.headers.get("ETag"), modified_of(answer))
        if answer.status != 206:
            raise _refused(answer, question)
        if found is None or found.group(1) is None:
            raise ReadError(f"{answer.host} does not say which bytes of {question.file} it sends")
        first, last, total = (int(number) for number in found.groups())
        if first != begin or last + 1 != min(end, total):
            raise ReadError(
                f"{answer.host} sends the bytes {first:,} to {last:,} of {question.file},"
                f" not {begin:,} to {end - 1:,} as it was asked"
            )
        wanted = last + 1 - first
        if answer.length not in (None, wanted):
            raise ReadError(f"{answer.host} sends {answer.length:,} bytes of {question.file} instead of {wanted:,}")
        # Without a length the answer is read to its end, which must be there.
        data = answer.body(wanted + (answer.length is None))
        if len(data) > wanted:
            raise ReadError(
                f"{answer.host} sends more than the {wanted:,} bytes of {question.file} that were asked for"
            )
        return Part(bytes(data), total, version_of(answer, total), modified_of(answer))

    def _from_whole(self, answer: Answer, question: Question, begin: int, end: int) -> Part:
        """The range out of a whole file, if that is small."""
        length = answer.length
        most = question.whole
        data = answer.body(most + 1) if length is None or length <= most else None
        if data is None or len(data) > most:
            of = "" if length is None else f" of {size(length)}"
            raise ReadError(
                f"{answer.host} sends no parts of files, and {question.file}{of} is not fetched as a whole:"
                " download it, then open it here"
            )
        if length is not None and len(data) < length:
            raise AgainError(f"{answer.host} closed the connection before its answer was complete")
        return Part(bytes(data[begin:end]), len(data), version_of(answer, len(data)), modified_of(answer))


def version_of(answer: Answer, total: int | None) -> str | None:
    """The ETag, or the time of the last change with the size; None where the server says neither."""
    tag = answer.headers.get("ETag")
    if tag:
        return tag
    modified = answer.headers.get("Last-Modified")
    return f"{modified}, {total} bytes" if modified else None


def modified_of(answer: Answer) -> int:
    """The time of the last change in nanoseconds since 1970, 0 where it is not known."""
    try:
        return int(parsedate_to_datetime(answer.headers.get("Last-Modified", "")).timestamp()) * 1_000_000_000
    except (TypeError, ValueError, IndexError, OverflowError):
        return 0


def quoted(path: str) -> str:
    """A path as it stands in a URL."""
    return quote(path, safe="/:@!$&'()*+,;=~-._")


def _refused(answer: Answer, question: Question) -> Exception:
    if answer.status == 412:
        return _changed(answer, question)
    with suppress(ReadError, AgainError):
        # Short as it is, it leaves the connection fit for the next request.
        answer.body(_MOST_EXPLAINED)
    code = answer.headers.get("X-Error-Code")
    fault = refused(answer.status, answer.host, question.file, question.hint, code)
    if isinstance(fault, AgainError):
        fault.wait = seconds_to_wait(answer.headers.get("Retry-After"))
    return fault


def _changed(answer: Answer, question: Question) -> Exception:
    return SourceChangedError(f"{question.file} was changed on {answer.host} after it was opened; open it again")


def _target(url: str, location: str | None, host: str) -> str:
    """Where a redirect leads. Raises ReadError."""
    if not location:
        raise ReadError(f"{host} redirects, and does not say where")
    try:
        # Some servers send spaces and letters as they are.
        parts = urlsplit(urljoin(url, quote(location, safe=_UNQUOTED_SIGNS + "?#[]")))
    except ValueError:
        raise ReadError(f"{host} redirects to something that is no web address") from None
    target = urlunsplit(parts._replace(fragment=""))
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ReadError(f"{host} redirects to something that is no web address")
    if urlsplit(url).scheme == "https" and parts.scheme == "http":
        raise ReadError(f"{host} redirects from https to http, where everybody could read along")
    return target


def _next_page(answer: Answer, url: str) -> str | None:
    """What a Link header calls the next page (RFC 8288), if it is of the same host. Raises ReadError."""
    for link in answer.headers.get("Link", "").split(","):
        place, _, options = link.strip().partition(";")
        if re.search(r"""\brel="?next\b""", options) and place.startswith("<") and place.endswith(">"):
            try:
                target = urljoin(url, place[1:-1])
                is_own = origin_of(target) == origin_of(url)
            except ValueError:
                is_own = False
            if not is_own:
                raise ReadError(f"{host_of(url)} has its list go on at another host")
            return target
    return None
