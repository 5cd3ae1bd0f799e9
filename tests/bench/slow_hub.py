"""A hub with latency, in one thread: it answers as tests/servers/hub.py does, and takes hardly any processor time.

Run as a script, with the seconds of latency: prints its address, and serves until standard input ends. The files are
those of ``bench_remote.shards``.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
from hashlib import sha256
from urllib.parse import urlsplit

COMMIT = "1" * 40
_RANGE = re.compile(rb"\r\n[Rr]ange: bytes=(\d+)-(\d*)")


class SlowHub:
    """``front`` has the API and redirects; ``store`` the bytes."""

    def __init__(self, files: dict[str, bytes], latency: float) -> None:
        self._files = files
        self._latency = latency
        self._store = 0
        siblings = [
            {
                "rfilename": name, "blobId": "2" * 40, "size": len(data),
                "lfs": {"sha256": sha256(data).hexdigest(), "size": len(data), "pointerSize": 130},
            }
            for name, data in files.items()
        ]  # fmt: skip
        self._listed = json.dumps({"id": "org/model", "sha": COMMIT, "siblings": siblings}).encode()
        self._tree = json.dumps(
            [
                {
                    "type": "file", "path": name, "size": len(data), "oid": "2" * 40,
                    "lfs": {"oid": sha256(data).hexdigest(), "size": len(data), "pointerSize": 130},
                }
                for name, data in files.items()
            ]
        ).encode()  # fmt: skip

    async def serve(self) -> None:
        front = await asyncio.start_server(lambda *pair: self._talk(*pair, is_store=False), "127.0.0.1", 0)
        store = await asyncio.start_server(lambda *pair: self._talk(*pair, is_store=True), "127.0.0.1", 0)
        self._store = store.sockets[0].getsockname()[1]
        print(f"http://127.0.0.1:{front.sockets[0].getsockname()[1]}", flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, is_store: bool) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                await asyncio.sleep(self._latency)
                method, target, _ = head.split(b" ", 2)
                status, fields, body = self._answer(urlsplit(target.decode()).path, head, is_store=is_store)
                fields["Content-Length"] = str(len(body))
                text = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
                writer.write(f"HTTP/1.1 {status}\r\n{text}\r\n".encode() + (b"" if method == b"HEAD" else body))
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    def _answer(self, path: str, head: bytes, *, is_store: bool) -> tuple[str, dict[str, str], bytes]:
        if path.startswith("/api/"):
            body = self._tree if "/tree/" in path else self._listed
            return "200 OK", {"Content-Type": "application/json"}, body
        name = path.rpartition("/")[2]
        data = self._files.get(name)
        if data is None:
            return "404 Not Found", {"X-Error-Code": "EntryNotFound"}, b""
        etag = f'"{sha256(name.encode()).hexdigest()}"'
        if not is_store:
            fields = {"X-Repo-Commit": COMMIT, "X-Linked-Size": str(len(data)), "X-Linked-Etag": etag, "ETag": etag}
            return "302 Found", fields | {"Location": f"http://127.0.0.1:{self._store}/{name}?signature=1"}, b""
        asked = _RANGE.search(head)
        if asked is None:
            return "200 OK", {"ETag": etag}, data
        begin, last = int(asked[1]), int(asked[2] or len(data) - 1)
        part = data[begin : last + 1]
        fields = {"ETag": etag, "Content-Range": f"bytes {begin}-{begin + len(part) - 1}/{len(data)}"}
        return "206 Partial Content", fields, part


if __name__ == "__main__":
    from tests.bench.bench_remote import shards

    asyncio.run(SlowHub(shards(), float(sys.argv[1])).serve())
