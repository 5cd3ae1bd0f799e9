"""What each scheme is read by, and what is said where its package is not installed."""

from __future__ import annotations

import pytest

from tests.test_hygiene import python
from tui_params.sources.remote.connect import connect


def test_without_the_extra_a_sentence_says_what_to_install() -> None:
    script = """
import sys
for package in ("obstore", "asyncssh", "fsspec", "huggingface_hub"):
    sys.modules[package] = None
from tui_params.errors import OpenError
from tui_params.sources.remote.connect import connect
for scheme in ("s3", "gs", "az", "ssh", "sftp", "ftp", "memory", "https", "hf"):
    try:
        print(connect(f"{scheme}://a/b"))
    except OpenError as error:
        print(error)
"""
    need = "addresses need more packages: pip install 'tui-params[remote]'"
    expected = [f"{scheme}:// {need}" for scheme in ("s3", "gs", "az", "ssh", "ssh", "ftp", "memory")]
    assert python(script).splitlines() == [*expected, "WebTransport('https://a/')", "HubTransport('hf://a/b')"]


@pytest.mark.parametrize(
    ("address", "shown"),
    [("https://h.example/a/b", "https://h.example/a/"), ("hf://org/model@main/x", "hf://org/model@main")],
)
def test_connecting_asks_nothing_yet(address: str, shown: str) -> None:
    transport = connect(address)
    assert transport.address == shown
    transport.close()
    transport.close()
