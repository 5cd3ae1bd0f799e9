"""What the user types, taken apart, and what is shown of it."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.test_hygiene import python
from tui_params.core.text import clean
from tui_params.errors import OpenError
from tui_params.sources.remote.address import Address, is_address, parse_address


@pytest.mark.parametrize(
    ("text", "base", "path", "shown"),
    [
        ("hf://org/model", "hf://org/model", "", "hf://org/model"),
        ("hf://org/model/", "hf://org/model", "", "hf://org/model"),
        ("hf://org/model@v1.0", "hf://org/model@v1.0", "", "hf://org/model@v1.0"),
        ("hf://org/model/a/b.bin", "hf://org/model", "a/b.bin", "hf://org/model"),
        ("hf://org/model@main/a/b.bin", "hf://org/model@main", "a/b.bin", "hf://org/model@main"),
        ("hf://org/model@refs/pr/1/a.bin", "hf://org/model@refs/pr/1", "a.bin", "hf://org/model@refs/pr/1"),
        ("hf://org/model@refs%2Fpr%2F1", "hf://org/model@refs/pr/1", "", "hf://org/model@refs/pr/1"),
        ("hf://models/org/name/x", "hf://org/name", "x", "hf://org/name"),
        ("hf://datasets/org/name@r/x", "hf://datasets/org/name@r", "x", "hf://datasets/org/name@r"),
        ("hf://gpt2", "hf://gpt2", "", "hf://gpt2"),
        ("hf://gpt2@main/config.json", "hf://gpt2@main", "config.json", "hf://gpt2@main"),
        ("https://h/m/a.bin", "https://h/m/", "a.bin", "https://h/m/"),
        ("https://h/m/", "https://h/m/", "", "https://h/m/"),
        ("https://h", "https://h/", "", "https://h/"),
        ("HTTPS://h:8443/a%20b/c%20d#part", "https://h:8443/a%20b/", "c d", "https://h:8443/a b/"),
        ("https://h/ä b/c d", "https://h/%C3%A4%20b/", "c d", "https://h/ä b/"),
        ("https://h/a b?sig=SE CRET%2F", "https://h/a%20b?sig=SE%20CRET%2F", "", "https://h/a b"),
        ("https://h/m/a.bin?sig=SECRET", "https://h/m/a.bin?sig=SECRET", "", "https://h/m/a.bin"),
        ("https://me:SECRET@h/m/a.bin", "https://me:SECRET@h/m/", "a.bin", "https://h/m/"),
        ("http://[::1]:80/x", "http://[::1]:80/", "x", "http://[::1]:80/"),
        ("s3://bucket", "s3://bucket", "", "s3://bucket"),
        ("s3://bucket/run/step_1", "s3://bucket/run", "step_1", "s3://bucket/run"),
        ("s3://bucket/run/step_1/", "s3://bucket/run/step_1", "", "s3://bucket/run/step_1"),
        ("s3a://bucket/a%20b", "s3://bucket", "a%20b", "s3://bucket"),
        ("gcs://bucket/x", "gs://bucket", "x", "gs://bucket"),
        ("az://container/x/y", "az://container/x", "y", "az://container/x"),
        ("ssh://host/data/x", "ssh://host", "data/x", "ssh://host"),
        ("sftp://me@host:2222/~/x", "ssh://me@host:2222", "~/x", "ssh://me@host:2222"),
        ("ssh://host/./x", "ssh://host", "x", "ssh://host"),
        ("memory://a/b/c", "memory://a/b", "c", "memory://a/b"),
        ("ftp://me:SECRET@host/a/b", "ftp://me:SECRET@host/a", "b", "ftp://me@host/a"),
    ],
)
def test_an_address_is_taken_apart(text: str, base: str, path: str, shown: str) -> None:
    address = parse_address(text)
    assert (address.base, address.path, address.shown) == (base, path, shown)
    assert "SECRET" not in address.text + repr(address) + str(address.__rich_repr__())


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("hf://", "names no repository"),
        ("hf://org/../x", "names no repository"),
        ("hf://org/model@", "no revision"),
        ("hf://org/model/../../x", r"\.\. in its path"),
        ("https://h/a/..", r"\.\. in its path"),
        ("https:///path", "name of a host"),
        (f"https://{'h' * 70}.example/x", "no valid host or port"),
        ("https://[/x", "no valid host or port"),
        ("ssh://[::1/x", "no valid host or port"),
        ("https://h:99999/x", "no valid host or port"),
        ("https://h/a\x1b[31m", "control characters"),
        ("s3://", "name of a bucket"),
        ("s3://key:SECRET@bucket/x", "name of a bucket"),
        ("ssh://me:SECRET@host/x", "takes no password"),
        ("zip://a.bin::s3://b/c.zip?SECRET", "inside other addresses"),
        ("ftp://host/a?token=SECRET", "takes no query"),
        ("model.bin", "begins with a scheme"),
    ],
)
def test_what_is_no_address_is_refused_with_a_sentence(text: str, sentence: str) -> None:
    with pytest.raises(OpenError, match=sentence) as caught:
        parse_address(text)
    assert "SECRET" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("hf://x", True), ("s3://", True), ("git+ssh://x", True), ("file:///x", False), ("FILE:///x", False),
        ("C://x", False), ("x", False), ("/x://y", False), ("hf:/x", False), ("", False), ("1a://x", False),
    ],
)  # fmt: skip
def test_addresses_are_told_from_paths(text: str, expected: bool) -> None:
    assert is_address(text) is expected


@given(st.sampled_from(["hf", "https", "s3", "ssh", "ftp"]), st.text(max_size=40))
def test_any_text_is_an_address_or_one_sentence(scheme: str, rest: str) -> None:
    try:
        address = parse_address(f"{scheme}://{rest}")
    except OpenError:
        return
    assert address.text == clean(address.text)
    assert ".." not in address.path.split("/")


def test_an_address_is_a_value() -> None:
    assert parse_address("hf://a/b") == parse_address("hf://a/b/")
    assert isinstance(parse_address("hf://a/b"), msgspec.Struct)
    assert {parse_address("hf://a/b"): 1}[Address("hf", "hf://a/b", "", "hf://a/b")] == 1


def test_telling_addresses_from_paths_imports_no_client() -> None:
    script = """
import sys
from tui_params.sources.remote import address, connect, transport
print(*sorted(sys.modules), sep="\\n")
"""
    loaded = set(python(script).splitlines())
    assert not loaded & {"http.client", "ssl", "socket", "asyncio", "obstore", "asyncssh", "fsspec", "huggingface_hub"}
    assert "tui_params.sources.remote.by_http" not in loaded
