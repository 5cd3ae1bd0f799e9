"""One plain sentence for whatever goes wrong between us and a server, with nothing secret in it."""

from __future__ import annotations

import re
import socket
import ssl
from http import HTTPStatus

from tui_params.core.text import clean
from tui_params.errors import ReadError
from tui_params.sources.bytes.far import NoPlaceError
from tui_params.sources.remote.retries import AgainError

_QUERY = re.compile(r"(?<=[^\s?])\?[^\s'\"<>)\]]*")
_USERINFO = re.compile(r"(?<=://)[^\s/@'\"]+@")

RETRIED = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Answers that may be others after a while."""


def without_secrets(text: str, limit: int = 200) -> str:
    """The first line of what a library says, without queries and passwords of the URLs in it."""
    line = text.strip().partition("\n")[0]
    return clean(_USERINFO.sub("", _QUERY.sub("", line)), limit)


_OF_HUB = {
    "RepoNotFound": "{host} has no such repository, or it is private: {hint}",
    "GatedRepo": "{host} gives {file} to those only who have accepted its terms: do so on its page there, and {hint}",
    "DisabledRepo": "{host} has closed access to this repository",
    "RevisionNotFound": "the repository has no such revision: {file}",
    "EntryNotFound": "the repository has no {file}",
}
"""What the hub says in X-Error-Code: huggingface_hub/utils/_http.py, hf_raise_for_status."""

_OF_CODE: dict[str, type[Exception]] = {
    "RepoNotFound": NoPlaceError,
    "RevisionNotFound": NoPlaceError,
    "EntryNotFound": FileNotFoundError,
}


def refused(status: int, host: str, file: str, hint: str = "", code: str | None = None) -> Exception:
    """What an answer of 400 and above means; ``hint`` is what to do about 401 and 403, ``code`` that of the hub.

    Returns FileNotFoundError, ReadError or, for what may be gone after a while, AgainError without a time.
    """
    tail = f": {hint}" if hint else ""
    if code in _OF_HUB:
        return _OF_CODE.get(code, ReadError)(_OF_HUB[code].format(host=host, file=file, hint=hint))
    if status in (404, 410):
        return FileNotFoundError(f"{host} has no {file}")
    if status == 401:
        return ReadError(f"{host} wants to know who asks for {file} (401){tail}")
    if status == 403:
        return ReadError(f"{host} does not allow access to {file} (403){tail}")
    sentence = f"{host} answers {status}{_meaning(status)} for {file}"
    return AgainError(sentence) if status in RETRIED else ReadError(sentence)


def _meaning(status: int) -> str:
    try:
        return f" ({HTTPStatus(status).phrase.lower()})"
    except ValueError:
        return ""


def broken(error: Exception, host: str, limit: float) -> Exception:
    """What an error of a socket means: ReadError, or AgainError for a connection that is lost; ``limit`` in seconds."""
    if isinstance(error, socket.gaierror):
        return ReadError(f"the name {host} does not resolve to an address")
    if isinstance(error, ssl.SSLCertVerificationError):
        return ReadError(f"the certificate of {host} is not trusted: {clean(error.verify_message, 120)}")
    if isinstance(error, TimeoutError):
        return AgainError(f"{host} did not answer within {limit:g} s")
    if isinstance(error, ConnectionRefusedError):
        return ReadError(f"{host} accepts no connection on that port")
    if isinstance(error, ssl.SSLError) and not isinstance(error, (ssl.SSLEOFError, ssl.SSLZeroReturnError)):
        reason = (error.reason or "no common language").replace("_", " ").lower()
        return ReadError(f"{host} does not speak TLS with us: {clean(reason, 120)}")
    if isinstance(error, OSError) and error.strerror and not isinstance(error, ConnectionError):
        return ReadError(f"{host} cannot be reached: {clean(error.strerror.lower(), 120)}")
    return AgainError(f"{host} closed the connection before its answer was complete")
