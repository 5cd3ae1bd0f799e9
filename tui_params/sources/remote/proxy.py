"""The proxy that the environment names for a host."""

from __future__ import annotations

import os
from base64 import b64encode
from typing import Any
from urllib.parse import unquote, urlsplit

from tui_params.errors import ReadError


def find_proxy(scheme: str, host: str) -> tuple[tuple[str, int], dict[str, str]] | None:
    """Where the variables http_proxy, https_proxy and no_proxy lead, and what the proxy is told of the user."""
    if not any(name.lower().endswith("_proxy") for name in os.environ):
        return None
    from urllib import request

    getproxies: Any = request.getproxies_environment
    bypasses: Any = request.proxy_bypass_environment  # type: ignore[attr-defined]
    text = getproxies().get(scheme, "")
    if not text or bypasses(host):
        return None
    try:
        parts = urlsplit(text if "://" in text else f"http://{text}")
        where = (parts.hostname or "", parts.port or 80)
    except ValueError:
        where = ("", 0)
    if not where[0] or parts.scheme != "http":
        raise ReadError(f"the proxy of {scheme}_proxy is none that is reached by http://")
    headers = {}
    if parts.username:
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        headers["Proxy-Authorization"] = "Basic " + b64encode(pair.encode()).decode()
    return where, headers
