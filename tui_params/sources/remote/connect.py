"""The Transport of an address. What a kind of server needs is imported when such a server is asked for."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec

from tui_params.errors import OpenError
from tui_params.sources.remote.address import Address, parse_address
from tui_params.sources.remote.transport import Transport

_KINDS = {
    "http": ("by_http", "WebTransport", None),
    "https": ("by_http", "WebTransport", None),
    "hf": ("hub", "HubTransport", None),
    "s3": ("by_obstore", "BucketTransport", "obstore"),
    "gs": ("by_obstore", "BucketTransport", "obstore"),
    "az": ("by_obstore", "BucketTransport", "obstore"),
    "ssh": ("by_ssh", "SshTransport", "asyncssh"),
}
"""By scheme: module and class, and the package that it needs. Of any other scheme fsspec is asked."""

_OTHERS = ("by_fsspec", "FsspecTransport", "fsspec")


def connect(address: Address | str) -> Transport:
    """What files below an address are read by. Nothing is asked of the server yet. Raises OpenError."""
    if isinstance(address, str):
        address = parse_address(address)
    module, name, package = _KINDS.get(address.scheme, _OTHERS)
    if package is not None and find_spec(package) is None:
        raise OpenError(f"{address.scheme}:// addresses need more packages: pip install 'tui-params[remote]'")
    kind = getattr(import_module(f"tui_params.sources.remote.{module}"), name)
    transport: Transport = kind(address)
    return transport
