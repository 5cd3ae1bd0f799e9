"""A web server that misbehaves on purpose: each fault is one sentence, or is made good, and nothing hangs."""

from __future__ import annotations

import gzip
import threading
from hashlib import sha256

import pytest

from tests.servers.nginx import free_port
from tests.servers.scripted import Act, Request, ScriptedServer
from tui_params.errors import ReadError, SourceChangedError
from tui_params.sources.remote.address import parse_address
from tui_params.sources.remote.by_http import WebTransport
from tui_params.sources.remote.deadline import Limits
from tui_params.sources.remote.ranges import SMALL_NBYTES
from tui_params.sources.remote.retries import Retries

DATA = bytes(range(256)) * 100


@pytest.fixture
def transport(web: ScriptedServer, retries: Retries) -> WebTransport:
    web.files["/f"] = DATA
    return WebTransport(parse_address(f"{web.url}/f"), retries)


def test_a_body_that_breaks_off_goes_on_where_it_ended(
    web: ScriptedServer, transport: WebTransport, pauses: list[float]
) -> None:
    web.script.extend([_cut(DATA, 30), _cut(DATA, 20)])
    assert transport.fetch("f", 100, 200).data == DATA[100:200]
    assert [each.headers["Range"] for each in web.served] == ["bytes=100-199", "bytes=130-199", "bytes=150-199"]
    assert "If-Match" not in web.served[0].headers
    assert web.served[1].headers["If-Match"] == web.served[2].headers["If-Match"] != ""
    assert web.nbytes == 100
    assert len(pauses) == 2


def test_a_body_never_goes_on_with_another_file(web: ScriptedServer, transport: WebTransport) -> None:
    web.script.append(_cut(DATA, 30))
    web.files["/f"] = DATA[::-1]
    with pytest.raises(SourceChangedError, match="f was changed on"):
        transport.fetch("f", 100, 200)


def test_without_a_version_a_body_that_breaks_off_is_fetched_anew(web: ScriptedServer, transport: WebTransport) -> None:
    def cut(request: Request) -> None:
        request.reply(206, {"Content-Range": "bytes 100-199/25600"}, DATA[100:130], length=100)
        request.hang_up()

    def whole(request: Request) -> None:
        begin, end = request.asked() or (0, 0)
        request.reply(206, {"Content-Range": f"bytes {begin}-{end - 1}/25600"}, DATA[begin:end])

    web.script.extend([cut, whole])
    assert transport.fetch("f", 100, 200).data == DATA[100:200]
    assert [each.headers["Range"] for each in web.served] == ["bytes=100-199"] * 2


def test_a_server_that_always_breaks_off_is_given_up(
    web: ScriptedServer, transport: WebTransport, pauses: list[float]
) -> None:
    web.script.extend([_cut(DATA, 1)] * 20)
    with pytest.raises(ReadError, match=r"closed the connection after 6 B of the 100 B of f; it was tried 6 times$"):
        transport.fetch("f", 100, 200)
    assert len(web.served) == 6
    assert sum(pauses) < 30
    web.script.clear()


def _cut(data: bytes, nbytes: int) -> Act:
    """A good answer that ends after so many bytes of its body."""

    def act(request: Request) -> None:
        begin, end = request.asked() or (0, 0)
        headers = {
            "ETag": f'"{sha256(data).hexdigest()[:16]}"',
            "Content-Range": f"bytes {begin}-{end - 1}/{len(data)}",
        }
        request.reply(206, headers, data[begin : begin + nbytes], length=end - begin)
        request.hang_up()

    return act


def test_a_server_that_hangs_up_is_asked_again(
    web: ScriptedServer, transport: WebTransport, pauses: list[float]
) -> None:
    web.script.extend([Request.hang_up, Request.hang_up])
    assert transport.fetch("f", 0, 10).data == DATA[:10]
    assert len(pauses) == 2
    web.script.extend([Request.hang_up] * 20)
    with pytest.raises(ReadError, match="closed the connection before its answer was complete; it was tried 6 times"):
        transport.fetch("f", 0, 10)
    web.script.clear()


def test_a_kept_connection_that_was_closed_meanwhile_is_no_fault(
    web: ScriptedServer, transport: WebTransport, pauses: list[float]
) -> None:
    transport.fetch("f", 0, 10)
    web.script.append(Request.hang_up)
    assert transport.fetch("f", 0, 10).data == DATA[:10]
    assert pauses == []


_ANSWERS: list[tuple[str, dict[str, str], bytes, int | None, str]] = [
    ("too much", {"Content-Range": "bytes 0-9/25600"}, DATA[:20], None, r"sends 20 bytes of f instead of 10"),
    ("too little", {"Content-Range": "bytes 0-9/25600"}, DATA[:5], None, r"sends 5 bytes of f instead of 10"),
    ("another range", {"Content-Range": "bytes 5-14/25600"}, DATA[5:15], None, r"sends the bytes 5 to 14 of f, not 0"),
    ("a shorter range", {"Content-Range": "bytes 0-4/25600"}, DATA[:5], None, r"sends the bytes 0 to 4 of f, not 0 to"),
    ("a longer range", {"Content-Range": "bytes 0-19/25600"}, DATA[:20], None, r"sends the bytes 0 to 19 of f, not"),
    ("no range", {}, DATA[:10], None, r"does not say which bytes of f it sends"),
    ("no size", {"Content-Range": "bytes 0-9/*"}, DATA[:10], None, r"does not say which bytes of f it sends"),
    ("nonsense", {"Content-Range": "bytes 9-0/5"}, DATA[:10], None, r"sends the bytes 9 to 0 of f, not 0 to 9"),
    (
        "several ranges",
        {"Content-Type": "multipart/byteranges; boundary=x"},
        b"--x",
        None,
        r"does not say which bytes of f it sends",
    ),
    (
        "compressed",
        {"Content-Range": "bytes 0-9/25600", "Content-Encoding": "gzip"},
        gzip.compress(DATA[:10]),
        None,
        r"sends f compressed \(gzip\) although it was asked not to",
    ),
]


@pytest.mark.parametrize(
    ("headers", "body", "length", "sentence"), [row[1:] for row in _ANSWERS], ids=[row[0] for row in _ANSWERS]
)
def test_an_answer_that_does_not_fit_the_question_is_refused(
    web: ScriptedServer,
    transport: WebTransport,
    pauses: list[float],
    headers: dict[str, str],
    body: bytes,
    length: int | None,
    sentence: str,
) -> None:
    web.script.append(lambda request: request.reply(206, headers, body, length=length))
    with pytest.raises(ReadError, match=rf"^127\.0\.0\.1:\d+ {sentence}"):
        transport.fetch("f", 0, 10)
    assert pauses == []
    # The connection, which may have bytes left over in it, is not used again.
    assert transport.fetch("f", 0, 10).data == DATA[:10]


def test_a_body_in_chunks_may_not_be_too_long_or_too_short(web: ScriptedServer, transport: WebTransport) -> None:
    def chunked(nbytes: int) -> Act:
        headers = {"Content-Range": "bytes 0-9/25600", "Transfer-Encoding": "chunked", "ETag": '"t"'}
        body = b"%x\r\n%b\r\n0\r\n\r\n" % (nbytes, DATA[:nbytes])
        return lambda request: request.reply(206, headers, body)

    web.script.append(chunked(10))
    assert transport.fetch("f", 0, 10).data == DATA[:10]
    web.script.append(chunked(11))
    with pytest.raises(ReadError, match="sends more than the 10 bytes"):
        transport.fetch("f", 0, 10)
    # What is missing is asked for, and that is another file now.
    web.script.append(chunked(9))
    with pytest.raises(SourceChangedError):
        transport.fetch("f", 0, 10)


def test_another_file_at_the_second_request_is_told(web: ScriptedServer, transport: WebTransport) -> None:
    version = transport.look("f").version
    web.files["/f"] = DATA[:-1]
    with pytest.raises(SourceChangedError, match=r"f was changed on .* after it was opened; open it again"):
        transport.fetch("f", 0, 10, version)


def test_a_version_that_is_no_longer_told_is_a_change(web: ScriptedServer, transport: WebTransport) -> None:
    version = transport.look("f").version
    web.script.append(lambda request: request.reply(206, {"Content-Range": "bytes 0-0/25600"}, DATA[:1]))
    with pytest.raises(SourceChangedError):
        transport.fetch("f", 0, 1, version)


@pytest.mark.parametrize("tags", [('W/"1"', 'W/"2"'), ('"1"', '"2"'), ('"1"', None), (None, None)])
def test_a_server_that_heeds_no_condition_is_found_out(
    web: ScriptedServer, transport: WebTransport, tags: tuple[str | None, str | None]
) -> None:
    def answer(tag: str | None, date: str) -> Act:
        headers = {"Content-Range": "bytes 0-0/25600", "Last-Modified": date}
        return lambda request: request.reply(206, {**headers, **({"ETag": tag} if tag else {})}, DATA[:1])

    dates = ("Mon, 01 Jan 2024 00:00:00 GMT", "Mon, 01 Jan 2024 00:00:01 GMT")
    web.script.extend(map(answer, tags, dates))
    version = transport.look("f").version
    with pytest.raises(SourceChangedError):
        transport.fetch("f", 0, 1, version)
    is_strong = (tags[0] or "").startswith('"')
    assert web.served[-1].headers.get("If-Match") == (tags[0] if is_strong else None)


def test_a_large_file_without_ranges_is_never_fetched(web: ScriptedServer, transport: WebTransport) -> None:
    def whole(request: Request) -> None:
        # Announced, not sent: who would read it would wait.
        request.reply(200, {"ETag": '"t"'}, b"", length=5_000_000_000)

    web.script.extend([whole, whole])
    entry = transport.look("f")
    assert (entry.size, entry.version) == (5_000_000_000, '"t"')
    with pytest.raises(ReadError, match=r"sends no parts of files, and f of 4\.66 GiB is not fetched as a whole"):
        transport.fetch("f", 0, 10)
    assert web.nbytes == 0


def test_a_small_file_without_ranges_is_taken_whole(web: ScriptedServer, transport: WebTransport) -> None:
    web.files["/f"] = DATA
    web.script.extend([lambda request: request.reply(200, {"ETag": '"t"'}, DATA)] * 3)
    assert transport.look("f").size == len(DATA)
    piece = transport.fetch("f", 100, 110, '"t"')
    assert (piece.data, piece.size) == (DATA[100:110], len(DATA))
    assert transport.fetch("f", 25_600, 25_700).data == b""


def test_a_whole_file_of_unknown_size_is_bounded(web: ScriptedServer, transport: WebTransport) -> None:
    def endless(request: Request) -> None:
        request.send_response(200)
        request.send_header("Connection", "close")
        request.end_headers()
        request.hang_up()
        try:
            for _ in range(1000):
                request.wfile.write(bytes(1 << 16))
                request.wfile.flush()
                sent.append(1 << 16)
        except OSError:
            return

    sent: list[int] = []
    web.script.append(endless)
    with pytest.raises(ReadError, match="sends no parts of files, and f is not fetched as a whole"):
        transport.fetch("f", 0, 10)
    assert sum(sent) < SMALL_NBYTES + (16 << 20)  # what the buffers of two sockets hold


def test_redirects_in_a_circle_end(web: ScriptedServer, transport: WebTransport) -> None:
    web.usual = lambda request: request.reply(302, {"Location": "/g" if request.path == "/f" else "/f"})
    try:
        with pytest.raises(ReadError, match="redirects in a circle for f"):
            transport.fetch("f", 0, 10)
        assert len(web.served) == 2
        web.served.clear()
        web.usual = lambda request: request.reply(302, {"Location": f"{request.path}x?SECRET"})
        with pytest.raises(ReadError, match="redirects in a circle for f") as caught:
            transport.fetch("f", 0, 10)
        assert len(web.served) == 9
        assert "SECRET" not in str(caught.value)
    finally:
        web.usual = web.serve


@pytest.mark.parametrize(
    "target", ["file:///etc/passwd", "ftp://host/x", "", "http://h:99999/", "http://[", "http://[::1"]
)
def test_a_redirect_leads_to_a_web_address_or_nowhere(
    web: ScriptedServer, transport: WebTransport, target: str
) -> None:
    web.script.append(lambda request: request.reply(302, {"Location": target} if target else {}))
    with pytest.raises(ReadError, match=r"redirects|no valid port"):
        transport.fetch("f", 0, 10)


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504, 408])
def test_an_answer_that_may_be_another_later_is_asked_for_again(
    web: ScriptedServer, transport: WebTransport, pauses: list[float], status: int
) -> None:
    web.script.append(lambda request: request.reply(status, {}))
    assert transport.fetch("f", 0, 10).data == DATA[:10]
    assert pauses == [0.25]


def test_retry_after_is_heeded(web: ScriptedServer, transport: WebTransport, pauses: list[float]) -> None:
    web.script.append(lambda request: request.reply(429, {"Retry-After": "11"}))
    assert transport.fetch("f", 0, 10).data == DATA[:10]
    assert pauses == [11.0]
    web.script.append(lambda request: request.reply(429, {"Retry-After": "3600"}))
    with pytest.raises(ReadError, match=r"answers 429 \(too many requests\) for f; it asks to wait 3,600 s$"):
        transport.fetch("f", 0, 10)
    assert pauses == [11.0]


@pytest.mark.parametrize(
    ("status", "sentence"),
    [
        (401, r"wants to know who asks for f \(401\): put a login for 127\.0\.0\.1 into ~/\.netrc"),
        (403, r"does not allow access to f \(403\)"),
        (400, r"answers 400 \(bad request\) for f"),
        (416, r"answers 416 \(request.* range not satisfiable\) for f|answers 416 \(range not satisfiable\) for f"),
        (451, r"answers 451 \(unavailable for legal reasons\) for f"),
        (599, r"answers 599 for f"),
        (204, r"answers 204 \(no content\) for f"),
    ],
)
def test_other_answers_are_told_at_once(
    web: ScriptedServer, transport: WebTransport, pauses: list[float], status: int, sentence: str
) -> None:
    web.script.append(lambda request: request.reply(status, {}, b"" if status == 204 else b"SECRET"))
    with pytest.raises(ReadError, match=f"^127.0.0.1:[0-9]+ ({sentence})") as caught:
        transport.fetch("f", 0, 10)
    assert "SECRET" not in str(caught.value)
    assert pauses == []
    assert len(web.served) == 1


def test_a_server_that_says_nothing_is_not_waited_for(
    web: ScriptedServer, retries: Retries, pauses: list[float]
) -> None:
    transport = WebTransport(parse_address(f"{web.url}/f"), retries, Limits(silence=0.05))
    release = threading.Event()

    def silent(request: Request) -> None:
        release.wait(60)
        request.hang_up()

    web.script.extend([silent] * 6)
    with pytest.raises(ReadError, match=r"did not answer within 0\.05 s; it was tried 6 times$"):
        transport.fetch("f", 0, 10)
    release.set()
    assert len(pauses) == 5


def test_a_server_that_sends_a_byte_now_and_then_is_not_waited_for(web: ScriptedServer, retries: Retries) -> None:
    transport = WebTransport(parse_address(f"{web.url}/f"), retries, Limits(silence=0.3, whole=0.3, slowest=1 << 30))
    release = threading.Event()

    def drips(request: Request) -> None:
        request.wfile.write(b"HTTP/1.1 206 Partial Content\r\n")
        number = 0
        while not release.wait(0.02):
            number += 1
            try:
                request.wfile.write(b"X-Header-%d: 1\r\n" % number)
                request.wfile.flush()
            except OSError:
                break
        request.hang_up()

    web.script.append(drips)
    web.files["/f"] = DATA
    try:
        assert transport.fetch("f", 0, 10).data == DATA[:10]
    finally:
        release.set()
    assert not web.script


@pytest.mark.parametrize(
    "text",
    [b"SSH-2.0-OpenSSH_9.2\r\n", b"HTTP/1.1 abc\r\n\r\n", bytes(70_000) + b"\n"],
    ids=["ssh", "no status", "zeros"],
)
def test_what_is_no_http_is_told(web: ScriptedServer, transport: WebTransport, text: bytes) -> None:
    def act(request: Request) -> None:
        request.wfile.write(text)
        request.wfile.flush()
        request.hang_up()

    web.script.append(act)
    with pytest.raises(ReadError, match="does not answer as HTTP does"):
        transport.fetch("f", 0, 10)


def test_a_port_that_nothing_listens_at() -> None:
    with pytest.raises(ReadError, match=r"^127\.0\.0\.1:\d+ accepts no connection on that port$"):
        WebTransport(parse_address(f"http://127.0.0.1:{free_port()}/f")).look("f")


def test_a_server_without_tls_is_told(web: ScriptedServer) -> None:
    transport = WebTransport(parse_address(f"https://127.0.0.1:{web.port}/f"))
    with pytest.raises(ReadError, match=r"^127\.0\.0\.1:\d+ does not speak TLS with us"):
        transport.look("f")
