"""moto's S3 on loopback, with its requests counted."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple
from urllib.request import Request, urlopen

import pytest

_SIGNATURE = (
    "AWS4-HMAC-SHA256 Credential=test/20240101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=unchecked"
)


class S3(NamedTuple):
    """A server: ``served`` has the method, path and query of each request, and how many bytes it was answered with."""

    url: str
    served: list[tuple[str, str, str, int]]

    def put(self, path: str, data: bytes = b"") -> None:
        """A bucket, or a file in one."""
        headers = {"Authorization": _SIGNATURE, "Content-Type": "application/octet-stream"}
        request = Request(f"{self.url}/{path}", data=data, method="PUT", headers=headers)
        urlopen(request).close()


def _counted(app: Any, served: list[tuple[str, str, str, int]]) -> Any:
    def counting(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        pieces = [bytes(piece) for piece in app(environ, start_response)]
        path, query = environ["PATH_INFO"], environ["QUERY_STRING"]
        served.append((environ["REQUEST_METHOD"], path, query, sum(map(len, pieces))))
        return pieces

    return counting


@contextmanager
def s3() -> Iterator[S3]:
    """An S3 server inside a ``with``."""
    for package in ("obstore", "flask", "flask_cors"):
        pytest.importorskip(package, reason=f"{package} is not installed")
    moto: Any = pytest.importorskip("moto.moto_server.werkzeug_app", reason="moto is not installed")
    from werkzeug.serving import make_server

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    served: list[tuple[str, str, str, int]] = []
    app = moto.DomainDispatcherApplication(moto.create_backend_app)
    server: Any = make_server("127.0.0.1", 0, _counted(app, served), threaded=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield S3(f"http://127.0.0.1:{server.server_port}", served)
    finally:
        server.shutdown()
        thread.join()
