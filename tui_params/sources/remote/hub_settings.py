"""Where the hub is, and who asks: as huggingface_hub reads it from the environment and the token file.

huggingface_hub.constants is asked where it is installed (22 ms; its functions that find the token take 440 ms); without
it the same variables are read here.
"""

from __future__ import annotations

import os
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec

from tui_params.errors import OpenError
from tui_params.sources.remote.web_login import is_private

_TRUE = {"1", "ON", "YES", "TRUE"}
_MAX_TOKEN_NBYTES = 4096


class HubSettings(msgspec.Struct, frozen=True):
    """The endpoint without a slash at its end, whether it may be asked, headers that say who asks, and a hint.

    ``hint`` is what to do when the hub refuses.
    """

    endpoint: str
    is_offline: bool
    headers: dict[str, str]
    hint: str

    def __repr__(self) -> str:
        return f"HubSettings({self.endpoint!r}, {self.hint!r})"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return [("endpoint", self.endpoint)]


def read_settings() -> HubSettings:
    """What holds now for this user. Raises OpenError for an endpoint that cannot be asked."""
    try:
        constants: Any = import_module("huggingface_hub.constants")
        endpoint, token_path = constants.ENDPOINT, constants.HF_TOKEN_PATH
        is_offline = constants.HF_HUB_OFFLINE
        is_anonymous = constants.HF_HUB_DISABLE_IMPLICIT_TOKEN
    except (ImportError, AttributeError):
        endpoint, token_path, is_offline, is_anonymous = _from_environment()
    if not _is_web(endpoint):
        raise OpenError("HF_ENDPOINT is no web address: it should be such as https://huggingface.co")
    place, token = ("", "") if is_anonymous else _find_token(token_path)
    if not token:
        return HubSettings(endpoint, is_offline, {}, "set HF_TOKEN, or log in with `hf auth login`")
    if not is_private(endpoint):
        return HubSettings(endpoint, is_offline, {}, f"the token of {place} is sent over https only")
    hint = f"the token of {place} has no access to it, or is no longer valid"
    return HubSettings(endpoint, is_offline, {"Authorization": f"Bearer {token}"}, hint)


def _from_environment() -> tuple[str, str, bool, bool]:
    """Endpoint, token file, offline and anonymous, as huggingface_hub/constants.py has them."""
    cache = os.environ.get("XDG_CACHE_HOME", os.path.join(os.path.expanduser("~"), ".cache"))
    home = _expanded(os.environ.get("HF_HOME", os.path.join(cache, "huggingface")))
    token_path = _expanded(os.environ.get("HF_TOKEN_PATH", os.path.join(home, "token")))
    offline = os.environ.get("HF_HUB_OFFLINE") or os.environ.get("TRANSFORMERS_OFFLINE") or ""
    anonymous = os.environ.get("HF_HUB_DISABLE_IMPLICIT_TOKEN", "")
    endpoint = os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")
    return endpoint, token_path, offline.upper() in _TRUE, anonymous.upper() in _TRUE


def _is_web(endpoint: str) -> bool:
    try:
        parts = urlsplit(endpoint)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _expanded(path: str) -> str:
    return os.path.expandvars(os.path.expanduser(path))


def _find_token(path: str) -> tuple[str, str]:
    """Where the token stands, and the token: of the variables first, then of the file; both empty if there is none."""
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        token = _clean_token(os.environ.get(name, ""))
        if token:
            return name, token
    try:
        with Path(path).open("rb") as file:
            token = _clean_token(file.read(_MAX_TOKEN_NBYTES).decode())
    except (OSError, ValueError):
        return "", ""
    return "`hf auth login`", token


def _clean_token(text: str) -> str:
    """A token without line ends; empty if it could not stand in a header."""
    token = text.replace("\r", "").replace("\n", "").strip()
    return token if token.isascii() and token.isprintable() else ""
