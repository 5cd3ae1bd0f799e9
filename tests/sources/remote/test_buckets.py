"""Buckets: a real S3 server, and what the others say by the same client."""

from __future__ import annotations

import json
import re
import threading
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.servers.s3 import S3
from tests.servers.scripted import LAST_MODIFIED, Request, ScriptedServer
from tui_params.errors import OpenError, ReadError, SourceChangedError
from tui_params.sources.remote.address import parse_address
from tui_params.sources.remote.bucket_login import find_login
from tui_params.sources.remote.connect import connect
from tui_params.sources.remote.deadline import Limits
from tui_params.sources.remote.retries import Retries
from tui_params.sources.remote.transport import Entry

pytest.importorskip("obstore", reason="obstore is not installed")

DATA = bytes(range(256)) * 100


def opened(address: str, retries: Retries, limits: Limits | None = None) -> Any:
    from tui_params.sources.remote.by_obstore import BucketTransport

    return BucketTransport(parse_address(address), retries, limits)


@pytest.fixture
def bucket(filled: S3, s3_server: S3, monkeypatch: pytest.MonkeyPatch) -> S3:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDSECRET")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "SECRET")
    return filled


@pytest.fixture(scope="module")
def filled(_s3: S3) -> S3:
    """The files that tests read; none changes them."""
    _s3.put("models")
    for path in ("run/step 1/a.bin", "run/step 1/b/c.bin", "run/top.bin", "first.bin", "run/step 10/x"):
        _s3.put(f"models/{path.replace(' ', '%20')}", DATA)
    return _s3


def test_a_fetch_is_one_request_for_exactly_the_bytes(bucket: S3, retries: Retries) -> None:
    transport = opened("s3://models/run/step 1/", retries)
    assert transport.address == "s3://models/run/step 1"
    entry = transport.look("a.bin")
    assert entry == Entry("a.bin", size=25_600, version=entry.version, modified_ns=entry.modified_ns)
    assert entry.modified_ns > 0
    piece = transport.fetch("a.bin", 1000, 1300, entry.version)
    assert (piece.data, piece.size, piece.version) == (DATA[1000:1300], 25_600, entry.version)
    assert transport.fetch("a.bin", 25_500, 30_000).data == DATA[25_500:]
    assert [(method, nbytes) for method, _, _, nbytes in bucket.served] == [("HEAD", 0), ("GET", 300), ("GET", 100)]
    beyond = transport.fetch("a.bin", 25_600, 25_700, entry.version)
    assert (beyond.data, beyond.size) == (b"", 25_600)
    assert transport.fetch("a.bin", 5, 5).data == b""
    transport.close()
    with pytest.raises(ReadError, match="was closed"):
        transport.fetch("a.bin", 0, 1)


def test_folders_are_listed_and_told_from_files(bucket: S3, retries: Retries) -> None:
    transport = opened("s3://models/run", retries)
    assert {entry.name: entry.is_folder for entry in transport.entries("")} == {"run": True, "first.bin": False}
    names = {entry.name: entry.is_folder for entry in transport.entries("run")}
    assert names == {"step 1": True, "step 10": True, "top.bin": False}
    (shard,) = [entry for entry in transport.entries("run/step 1") if not entry.is_folder]
    assert shard.size == len(DATA)
    assert shard.version == transport.look("run/step 1/a.bin").version
    assert transport.look("run/step 1") == Entry("step 1", is_folder=True)
    assert transport.look("") == Entry("", is_folder=True)
    assert transport.entries("absent") == ()


def test_long_lists_come_in_pages_and_are_bounded(
    bucket: S3, retries: Retries, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket.put("large")
    for number in range(5):
        bucket.put(f"large/many/{number}")
    monkeypatch.setattr("moto.s3.models.DEFAULT_LISTOBJECTS_MAXKEYS", 2, raising=False)
    monkeypatch.setattr("tui_params.sources.remote.by_obstore.MOST_ENTRIES", 4)
    with pytest.raises(ReadError, match=r"^s3://large/many has more than 4 files$"):
        opened("s3://large/x", retries).entries("many")


def test_a_file_that_changes_is_told(bucket: S3, retries: Retries) -> None:
    bucket.put("moving")
    bucket.put("moving/f", DATA)
    transport = opened("s3://moving/f", retries)
    version = transport.look("f").version
    bucket.put("moving/f", DATA[::-1])
    with pytest.raises(SourceChangedError, match=r"^f was changed in s3://moving after it was opened; open it again$"):
        transport.fetch("f", 0, 10, version)


def test_absent_files_and_buckets(bucket: S3, retries: Retries) -> None:
    transport = opened("s3://models/x", retries)
    for ask in (transport.look, lambda path: transport.fetch(path, 0, 1)):
        with pytest.raises(FileNotFoundError, match=r"^s3://models has no absent$"):
            ask("absent")
    with pytest.raises(FileNotFoundError, match=r"^there is no bucket s3://nobody$"):
        opened("s3://nobody/x", retries).fetch("x", 0, 1)
    with pytest.raises(ReadError, match="is a folder"):
        transport.fetch("", 0, 1)
    with pytest.raises(ReadError, match="leads out"):
        transport.look("../other")


@pytest.fixture
def endpoint(web: ScriptedServer, monkeypatch: pytest.MonkeyPatch) -> ScriptedServer:
    monkeypatch.setenv("AWS_ENDPOINT_URL", web.url)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDSECRET")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "SECRET")
    web.files["/models/f"] = DATA
    return web


@pytest.mark.parametrize("status", [429, 500, 503])
def test_an_answer_that_may_be_another_later_is_asked_for_again(
    endpoint: ScriptedServer, retries: Retries, pauses: list[float], status: int
) -> None:
    endpoint.script.append(lambda request: request.reply(status, {}, b"<Error><Code>SlowDown</Code></Error>"))
    assert opened("s3://models/f", retries).fetch("f", 0, 10).data == DATA[:10]
    assert pauses == [0.25]
    assert len(endpoint.served) == 2


def test_lost_connections_and_short_bodies_are_asked_for_again(
    endpoint: ScriptedServer, retries: Retries, pauses: list[float]
) -> None:
    def cut(request: Request) -> None:
        headers = {"Content-Range": "bytes 0-9/25600", "ETag": '"t"', "Last-Modified": LAST_MODIFIED}
        request.reply(206, headers, DATA[:3], length=10)
        request.hang_up()

    endpoint.script.extend([Request.hang_up, cut])
    assert opened("s3://models/f", retries).fetch("f", 0, 10).data == DATA[:10]
    endpoint.script.extend([Request.hang_up] * 6)
    with pytest.raises(ReadError, match=r"^s3://models: the server closed the connection .*; it was tried 6 times$"):
        opened("s3://models/f", retries).fetch("f", 0, 10)


@pytest.mark.parametrize(
    ("status", "code", "sentence"),
    [
        (403, "AccessDenied", r"allow access to f \(403\): the credentials in the environment .* \(AccessDenied\)$"),
        (403, "InvalidAccessKeyId", r"\(InvalidAccessKeyId\)$"),
        (401, "", r"wants to know who asks for f \(401\)"),
        (400, "ExpiredToken", r"^s3://models answers 400 \(bad request\) for f"),
        (301, "PermanentRedirect", r"the bucket is in another region: set AWS_REGION$"),
    ],
)
def test_a_refusal_is_one_sentence_without_secrets(
    endpoint: ScriptedServer, retries: Retries, pauses: list[float], status: int, code: str, sentence: str
) -> None:
    body = f"<Error><Code>{code}</Code><AWSAccessKeyId>AKIDSECRET</AWSAccessKeyId></Error>".encode()
    endpoint.script.append(lambda request: request.reply(status, {}, body))
    transport = opened("s3://models/f", retries)
    with pytest.raises(ReadError, match=sentence) as caught:
        transport.fetch("f", 0, 10)
    assert not re.search(r"SECRET|\n", f"{caught.value} {transport!r} {find_login('s3')!r}")
    assert pauses == []


def test_a_server_that_sends_whole_files(endpoint: ScriptedServer, retries: Retries) -> None:
    small = {"ETag": '"t"', "Last-Modified": LAST_MODIFIED}
    endpoint.script.extend([lambda request: request.reply(200, small, DATA)] * 2)
    transport = opened("s3://models/f", retries)
    assert transport.fetch("f", 5, 10).data == DATA[5:10]
    endpoint.script.extend([lambda request: request.reply(200, small, b"", length=5_000_000_000)] * 2)
    with pytest.raises(ReadError, match=r"sends no parts of files, and f of 4\.66 GiB is not fetched as a whole"):
        transport.fetch("f", 5, 10)


def test_another_range_than_asked_is_refused(endpoint: ScriptedServer, retries: Retries) -> None:
    headers = {"Content-Range": "bytes 5-14/25600", "ETag": '"t"', "Last-Modified": LAST_MODIFIED}
    endpoint.script.append(lambda request: request.reply(206, headers, DATA[5:15]))
    with pytest.raises(ReadError, match=r"^s3://models cannot be read: .*Requested 0\.\.10, got 5\.\.15"):
        opened("s3://models/f", retries).fetch("f", 0, 10)


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("http://127.0.0.1:1", "the server accepts no connection on that port"),
        ("http://bucket.invalid", "the name of the server does not resolve to an address"),
        ("https://127.0.0.1:{port}", "the server does not speak TLS with us"),
    ],
)
def test_a_server_that_cannot_be_reached(
    endpoint: ScriptedServer, retries: Retries, monkeypatch: pytest.MonkeyPatch, url: str, sentence: str
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", url.format(port=endpoint.port))
    with pytest.raises(ReadError, match=f"^s3://models cannot be read: {sentence}$"):
        opened("s3://models/f", retries).fetch("f", 0, 10)


def test_a_silent_server_is_not_waited_for(endpoint: ScriptedServer, retries: Retries) -> None:
    release = threading.Event()
    endpoint.script.extend([lambda request: (release.wait(60), request.hang_up())[0]] * 6)  # type: ignore[func-returns-value, list-item]
    with pytest.raises(ReadError, match="the server did not answer in time; it was tried 6 times"):
        opened("s3://models/f", retries, Limits(silence=0.1)).fetch("f", 0, 10)
    release.set()


def test_without_credentials_nothing_is_signed(
    endpoint: ScriptedServer, retries: Retries, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    transport = opened("s3://models/f", retries)
    transport.fetch("f", 0, 10)
    assert "authorization" not in {name.lower() for name in endpoint.served[0].headers}
    endpoint.script.append(lambda request: request.reply(403, {}))
    with pytest.raises(ReadError, match=r"\(403\): set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY$"):
        transport.fetch("f", 0, 10)


def test_a_profile_is_read_by_boto3(
    endpoint: ScriptedServer, retries: Retries, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("boto3", reason="boto3 is not installed")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    (home / ".aws").mkdir()
    (home / ".aws" / "credentials").write_text(
        "[other]\naws_access_key_id = OTHERKEY\naws_secret_access_key = SECRET\n"
    )
    monkeypatch.setenv("AWS_PROFILE", "other")
    opened("s3://models/f", retries).fetch("f", 0, 10)
    headers = {name.lower(): value for name, value in endpoint.served[0].headers.items()}
    assert "Credential=OTHERKEY/" in headers["authorization"]
    monkeypatch.setenv("AWS_PROFILE", "absent")
    assert find_login("s3").is_anonymous


def _lists(request: Request, kind: str) -> None:
    """What Google and Azure answer to the list of a folder, with one file and one folder in it."""
    query = parse_qs(urlsplit(request.path).query)
    assert query["delimiter"] == ["/"]
    prefix = query["prefix"][0]
    if kind == "gs":
        body = (
            f"<ListBucketResult><Contents><Key>{prefix}f</Key><Size>25600</Size>"
            '<LastModified>2024-01-01T00:00:00.000Z</LastModified><ETag>"t"</ETag></Contents>'
            f"<CommonPrefixes><Prefix>{prefix}sub/</Prefix></CommonPrefixes></ListBucketResult>"
        )
    else:
        body = (
            f"<EnumerationResults><Prefix>{prefix}</Prefix><Blobs><Blob><Name>{prefix}f</Name><Properties>"
            f"<Last-Modified>{LAST_MODIFIED}</Last-Modified><Etag>0x1</Etag><Content-Length>25600</Content-Length>"
            "<Content-Type>x</Content-Type></Properties></Blob>"
            f"<BlobPrefix><Name>{prefix}sub/</Name></BlobPrefix></Blobs><NextMarker /></EnumerationResults>"
        )
    request.reply(200, {"Content-Type": "application/xml"}, body.encode())


@pytest.mark.parametrize("kind", ["gs", "az"])
def test_google_and_azure_are_asked_in_their_own_way(
    web: ScriptedServer, retries: Retries, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """Not their real servers, which do not run here: the answers as their documentation has them."""
    if kind == "gs":
        account = {
            "gcs_base_url": web.url,
            "disable_oauth": True,
            "client_email": "",
            "private_key": "",
            "private_key_id": "",
        }
        monkeypatch.setenv("GOOGLE_SERVICE_ACCOUNT_KEY", json.dumps(account))
        web.files["/models/run/f"] = DATA
    else:
        monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "account")
        monkeypatch.setenv("AZURE_STORAGE_ENDPOINT", web.url)
        monkeypatch.setenv("AZURE_SKIP_SIGNATURE", "true")
        web.files["/models/run/f"] = DATA
    transport = opened(f"{kind}://models/run/", retries)
    entry = transport.look("f")
    assert entry.size == len(DATA)
    assert transport.fetch("f", 3, 9, entry.version).data == DATA[3:9]
    assert web.nbytes == 6
    web.script.append(lambda request: _lists(request, kind))
    names = {each.name: each.is_folder for each in transport.entries("")}
    assert names == {"sub": True, "f": False}


def test_azure_needs_the_name_of_the_account(retries: Retries) -> None:
    with pytest.raises(OpenError, match=r"^az:// needs the name of the account: set AZURE_STORAGE_ACCOUNT_NAME$"):
        connect("az://container/x")


def test_a_listing_that_does_not_end_is_not_waited_for(endpoint: ScriptedServer, retries: Retries) -> None:
    release = threading.Event()

    def wait(request: Request) -> None:
        release.wait(60)
        request.hang_up()

    endpoint.script.append(wait)
    with pytest.raises(ReadError, match=r"^s3://models was not listed within 0\.1 s$"):
        opened("s3://models/run", retries, Limits(whole=0.1)).entries("")
    release.set()


def test_no_thread_of_obstore_is_left_behind_to_abort_the_process() -> None:
    # What its coroutines hand over is held by a thread of its own, which a process that ends at once is aborted by.
    from tui_params.sources.remote import by_obstore

    source = Path(by_obstore.__file__).read_text()
    assert re.findall(r"\bobstore\.\w+_async\b|\basyncio\b", source) == []
