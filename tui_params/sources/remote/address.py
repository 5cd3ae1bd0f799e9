"""Addresses of checkpoints elsewhere, as the user types them: ``hf://org/model``, ``s3://bucket/run/step_10``.

What is shown of one has no query, no password and no token, for a signed URL is a password itself.
"""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import quote, unquote, urlsplit

import msgspec

from tui_params.core.text import clean
from tui_params.errors import OpenError

_ADDRESS = re.compile(r"([A-Za-z][A-Za-z0-9+-]+)://")
_SAME = {"gcs": "gs", "s3a": "s3", "azure": "az", "sftp": "ssh"}
_HUB_KINDS = ("models", "datasets", "spaces")
_REPOSITORY_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_LONG_REVISION = re.compile(r"(refs/(?:convert|pr)/[^/@]+)(?:/(.*))?", re.DOTALL)
"""Revisions of the hub that have slashes: huggingface_hub/hf_file_system.py, SPECIAL_REFS_REVISION_REGEX."""


class Address(msgspec.Struct, frozen=True):
    """A place on a server: ``base``, which a Transport stands on, and the ``path`` of a file or folder below it.

    ``base`` may hold a signed query or a password, so it is for ``connect`` only. ``shown`` is what the user may see of
    the base, ``text`` of the whole.
    """

    scheme: str
    base: str
    path: str
    shown: str

    @property
    def text(self) -> str:
        """Base and path, for the user; fit to be typed again where nothing secret was in it."""
        return f"{self.shown.rstrip('/')}/{clean(self.path)}" if self.path else self.shown

    def __repr__(self) -> str:
        return f"Address({self.text!r})"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return [("text", self.text)]


def is_address(text: str) -> bool:
    """Whether it begins as ``scheme://`` and is not of this machine: ``file://`` and ``C://`` are not."""
    found = _ADDRESS.match(text)
    return found is not None and found.group(1).lower() != "file"


def parse_address(text: str) -> Address:
    """What the user typed, taken apart. Raises OpenError, with a sentence that has nothing secret in it."""
    found = _ADDRESS.match(text)
    if found is None:
        raise OpenError("an address begins with a scheme, such as hf:// or https://")
    scheme = found.group(1).lower()
    rest = text[found.end() :]
    if any(ord(sign) < 32 or ord(sign) == 127 for sign in rest):
        raise OpenError(f"the {scheme}:// address has control characters in it")
    scheme = _SAME.get(scheme, scheme)
    if scheme == "hf":
        return _of_hub(rest)
    if scheme in ("http", "https"):
        return _of_web(scheme, rest)
    if scheme == "ssh":
        return _of_ssh(rest)
    if scheme in ("s3", "gs", "az"):
        return _of_bucket(scheme, rest)
    return _of_other(scheme, rest)


def _of_hub(rest: str) -> Address:
    """``[datasets/]org/name[@revision][/path]``; repositories of one name, such as ``gpt2``, without a path only."""
    kind = next((kind for kind in _HUB_KINDS if rest.startswith(f"{kind}/")), "")
    parts = rest.removeprefix(f"{kind}/").strip("/").split("/")
    example = "write hf://org/model, hf://org/model@revision or hf://org/model/file"
    head, at, tail = "/".join(parts[:2]).partition("@")
    names = head.split("/")
    if len(names) == 1 and len(parts) > 1:
        # The revision stood after a single name: gpt2@main/config.json.
        tail = f"{tail}/{'/'.join(parts[2:])}" if len(parts) > 2 else tail
    elif len(parts) > 2:
        tail = f"{tail}/{'/'.join(parts[2:])}" if at else "/".join(parts[2:])
    if not all(_REPOSITORY_NAME.fullmatch(name) for name in names):
        raise OpenError(f"{clean('hf://' + rest, 120)} names no repository: {example}")
    revision, path = "", tail
    if at:
        long = _LONG_REVISION.fullmatch(unquote(tail))
        revision, path = (long.group(1), long.group(2) or "") if long else tail.partition("/")[::2]
        revision = unquote(revision)
        if not revision:
            raise OpenError(f"{clean('hf://' + rest, 120)} has no revision after the @: {example}")
    base = "/".join([*([kind] if kind in _HUB_KINDS[1:] else []), *names])
    if revision:
        base += f"@{revision}"
    return Address("hf", f"hf://{base}", _plain_path(path), clean(f"hf://{base}"))


def _of_web(scheme: str, rest: str) -> Address:
    """The folder of a URL and the name in it; a URL with a query is the base itself, for the query is of that file."""
    host = _host(scheme, rest)
    url = urlsplit(f"{scheme}://{rest}")
    folder, _, name = url.path.rpartition("/")
    origin = f"{scheme}://{url.netloc}"
    shown = clean(f"{scheme}://{host}")
    if url.query:
        base = f"{origin}{_encoded(url.path)}?{_encoded(url.query)}"
        return Address(scheme, base, "", shown + clean(unquote(url.path)))
    path = _plain_path(unquote(name))
    return Address(scheme, f"{origin}{_encoded(folder)}/", path, f"{shown}{clean(unquote(folder))}/")


def _of_ssh(rest: str) -> Address:
    """``[user@]host[:port]/path``: the path begins at the root of the host, after ``/~/`` at the user's home."""
    host = _host("ssh", rest)
    url = urlsplit(f"ssh://{rest}")
    if url.password is not None:
        raise OpenError("an ssh:// address takes no password: use a key, ssh-agent or ~/.ssh/config")
    base = f"ssh://{url.username}@{host}" if url.username else f"ssh://{host}"
    path = rest.partition("/")[2]
    return Address("ssh", base, _plain_path(path), clean(base))


def _of_bucket(scheme: str, rest: str) -> Address:
    """``bucket/folder/name``: the bucket and the folder are the base."""
    bucket, _, key = rest.partition("/")
    if not bucket or "@" in bucket:
        raise OpenError(f"{scheme}:// needs the name of a bucket: {scheme}://bucket/folder")
    folder, _, name = _plain_path(key, may_end=True).rpartition("/")
    base = f"{scheme}://{bucket}/{folder}".rstrip("/")
    return Address(scheme, base, name, clean(base))


def _of_other(scheme: str, rest: str) -> Address:
    """Whatever fsspec opens: the folder is the base; what stands before an ``@`` is not shown but for a user's name."""
    if "::" in rest:
        raise OpenError("addresses inside other addresses (::) are not opened: fetch the outer file first")
    before, at, after = rest.rpartition("@")
    place = after if at and "/" not in before else rest
    folder, _, name = place.rpartition("/")
    user = f"{before}@" if place is not rest else ""
    user_shown = f"{before.partition(':')[0]}@" if place is not rest else ""
    folder_shown = folder.partition("?")[0]
    if "?" in folder or "?" in name:
        raise OpenError(f"an address of {scheme}:// takes no query")
    return Address(
        scheme,
        f"{scheme}://{user}{folder}",
        _plain_path(name),
        clean(f"{scheme}://{user_shown}{folder_shown}"),
    )


def _encoded(text: str) -> str:
    """A part of a URL as it is sent: escapes stay, and what was typed as it is becomes one."""
    return quote(text, safe="%/?:@!$&'()*+,;=~-._[]")


def _host(scheme: str, rest: str) -> str:
    """Host and port as they are shown. Raises OpenError."""
    try:
        url = urlsplit(f"{scheme}://{rest}")
        host, port = url.hostname, url.port
        # What is no name at all would fail when it is looked up, in another way.
        (host or "").encode("idna")
    except ValueError:
        raise OpenError(f"the {scheme}:// address has no valid host or port") from None
    if not host:
        raise OpenError(f"{scheme}:// needs the name of a host: {scheme}://host/path")
    host = f"[{host}]" if ":" in host else host
    return host if port is None else f"{host}:{port}"


def _plain_path(path: str, may_end: bool = False) -> str:
    """A path without empty parts, its end aside with ``may_end``. Raises OpenError for one that leads up."""
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise OpenError("an address may not have .. in its path")
    return "/".join(parts) + ("/" if may_end and parts and path.endswith("/") else "")
