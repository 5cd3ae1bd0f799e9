"""What the errors of obstore mean: they are texts of many lines, which may hold a signed URL whole."""

from __future__ import annotations

import re

from tui_params.errors import ReadError
from tui_params.sources.bytes.far import NoPlaceError
from tui_params.sources.remote.faults import refused, without_secrets
from tui_params.sources.remote.retries import AgainError

_STATUS = re.compile(r"status code: (\d{3})")
_CODE = re.compile(r"<Code>(\w{1,60})</Code>")
_ASKS_THE_CLOUD = ("169.254.169.254", "metadata.google.internal", "169.254.170.2")

_SENTENCES: tuple[tuple[tuple[str, ...], str], ...] = (
    (("dns error", "failed to lookup address"), "the name of the server does not resolve to an address"),
    (("InvalidCertificate", "UnknownIssuer", "certificate verify"), "the certificate of the server is not trusted"),
    (("InvalidContentType", "InvalidMessage", "received fatal alert"), "the server does not speak TLS with us"),
    (("ConnectionRefused",), "the server accepts no connection on that port"),
    (("without LOCATION",), "the bucket is in another region: set AWS_REGION"),
)

_AGAIN: tuple[tuple[tuple[str, ...], str], ...] = (
    (("kind: Timeout", "TimedOut"), "the server did not answer in time"),
    (
        (
            "kind: Interrupted",
            "kind: Connect",
            "kind: Request",
            "IncompleteMessage",
            "IncompleteBody",
        ),
        "the server closed the connection before its answer was complete",
    ),
)


def is_whole(text: str) -> bool:
    """Whether the server sent the whole file although a part of it was asked for."""
    return "non-partial response" in text


def status_of(error: Exception) -> int | None:
    """The status of the answer that an error of obstore tells of."""
    found = _STATUS.search(str(error))
    return int(found.group(1)) if found else None


def meaning(error: Exception, bucket: str, file: str, hint: str) -> Exception:
    """FileNotFoundError, ReadError, or AgainError for what may be gone after a while."""
    text = str(error)
    if any(place in text for place in _ASKS_THE_CLOUD):
        return ReadError(f"no credentials for {bucket} were found: {hint}")
    status = status_of(error)
    code = _CODE.search(text)
    if status is not None:
        if code and code.group(1) == "NoSuchBucket":
            return NoPlaceError(f"there is no bucket {bucket}")
        more = f"{hint} ({code.group(1)})" if code and hint else hint
        return refused(status, bucket, file, more)
    if isinstance(error, FileNotFoundError):
        return FileNotFoundError(f"{bucket} has no {file}")
    for signs, sentence in _SENTENCES:
        if any(sign in text for sign in signs):
            return ReadError(f"{bucket} cannot be read: {sentence}")
    for signs, sentence in _AGAIN:
        if any(sign in text for sign in signs):
            return AgainError(f"{bucket}: {sentence}")
    return ReadError(f"{bucket} cannot be read: {without_secrets(text)}")
