"""An imitation of the Hugging Face Hub: its API, and files that it redirects to another host with a signed URL."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha1, sha256
from urllib.parse import parse_qs, unquote, urlsplit

from tests.servers.scripted import Request, ScriptedServer, scripted_server

COMMIT = "0123456789abcdef0123456789abcdef01234567"
TOKEN = "hf_secretTokenOfTheTest"
_REVISIONS = ("main", "refs/pr/1", COMMIT)
_LFS_FROM = 1000
"""Files of this many bytes are in LFS, so they come from the other host."""


class Hub:
    """``front`` has the API and the small files, ``store`` those in LFS. Repositories in ``private`` want TOKEN."""

    def __init__(self, front: ScriptedServer, store: ScriptedServer) -> None:
        self.front = front
        self.store = store
        self.files: dict[str, bytes] = {}
        self.repository = "org/model"
        self.is_private = False
        self.is_gated = False
        self.page = 1000
        self.is_terse = False
        """Whether sizes do not stand beside the commit."""
        self.signature = 1
        """What the store accepts as signed; a higher number lets older addresses expire."""
        front.usual = self._answer
        store.usual = self._stored

    def reset(self) -> None:
        """A hub with an empty public repository."""
        self.files.clear()
        self.is_private = self.is_gated = self.is_terse = False
        self.page, self.signature = 1000, 1
        for server in (self.front, self.store):
            server.served.clear()
            server.script.clear()

    def _answer(self, request: Request) -> None:
        url = urlsplit(request.path)
        path = unquote(url.path)
        authorization = request.headers.get("Authorization")
        api = f"/api/models/{self.repository}"
        files = f"/{self.repository}/resolve/"
        if authorization not in (None, f"Bearer {TOKEN}"):
            _refuse(request, 401, None)
        elif not (path == api or path.startswith((f"{api}/", files))) or (self.is_private and authorization is None):
            _refuse(request, 401, "RepoNotFound")
        elif path == api or path.startswith(f"{api}/revision/"):
            revision = path.removeprefix(f"{api}/revision/") if path != api else "main"
            if revision in _REVISIONS:
                siblings = [self._sibling(name, is_long="blobs=true" in url.query) for name in sorted(self.files)]
                body = {"id": self.repository, "sha": COMMIT, "siblings": siblings}
                request.reply(200, {"Content-Type": "application/json"}, json.dumps(body).encode())
            else:
                _refuse(request, 404, "RevisionNotFound")
        elif path.removeprefix(f"{api}/tree/") in _REVISIONS:
            self._tree(request, parse_qs(url.query))
        elif (found := path.removeprefix(files).partition("/"))[0] in _REVISIONS:
            self._resolve(request, found[2])
        else:
            _refuse(request, 404, "RevisionNotFound")

    def _tree(self, request: Request, query: dict[str, list[str]]) -> None:
        first = int(query.get("cursor", ["0"])[0])
        names = sorted(self.files)
        items = [self._item(name) for name in names[first : first + self.page]]
        headers = {"Content-Type": "application/json"}
        if first + self.page < len(names):
            target = f"{self.front.url}{urlsplit(request.path).path}?recursive=true&cursor={first + self.page}"
            headers["Link"] = f'<{target}>; rel="next"'
        request.reply(200, headers, json.dumps(items).encode())

    def _item(self, name: str) -> dict[str, object]:
        data = self.files[name]
        oid = sha1(b"blob %d\0" % len(data) + data).hexdigest()
        item: dict[str, object] = {"type": "file", "oid": oid, "size": len(data), "path": name}
        if len(data) >= _LFS_FROM:
            item["lfs"] = {"oid": sha256(data).hexdigest(), "size": len(data), "pointerSize": 134}
        return item

    def _sibling(self, name: str, *, is_long: bool) -> dict[str, object]:
        item = self._item(name)
        if not is_long or self.is_terse:
            return {"rfilename": name}
        found: dict[str, object] = {"rfilename": name, "blobId": item["oid"], "size": item["size"]}
        if len(self.files[name]) >= _LFS_FROM:
            digest = sha256(self.files[name]).hexdigest()
            found["lfs"] = {"sha256": digest, "size": item["size"], "pointerSize": 134}
        return found

    def _resolve(self, request: Request, name: str) -> None:
        data = self.files.get(name)
        if data is None:
            _refuse(request, 404, "EntryNotFound")
        elif self.is_gated and len(data) >= _LFS_FROM:
            _refuse(request, 403, "GatedRepo")
        elif len(data) < _LFS_FROM:
            request.send_range(data, {"X-Repo-Commit": COMMIT})
        else:
            digest = sha256(data).hexdigest()
            target = f"{self.store.url}/{digest}?X-Amz-Signature=secret{self.signature}&X-Amz-Expires=3600"
            linked = {"X-Linked-Size": str(len(data)), "X-Linked-Etag": f'"{digest}"', "X-Repo-Commit": COMMIT}
            request.reply(302, {"Location": target, "ETag": f'"{digest}"', **linked})

    def _stored(self, request: Request) -> None:
        url = urlsplit(request.path)
        signed = parse_qs(url.query).get("X-Amz-Signature")
        data = next((data for data in self.files.values() if url.path == f"/{sha256(data).hexdigest()}"), None)
        if signed != [f"secret{self.signature}"] or data is None:
            request.reply(403, {}, b"<Error><Code>AccessDenied</Code></Error>")
        else:
            request.send_range(data)


def _refuse(request: Request, status: int, code: str | None) -> None:
    request.reply(status, {"X-Error-Code": code} if code else {}, b"{}")


@contextmanager
def hub() -> Iterator[Hub]:
    """A hub inside a ``with``."""
    with scripted_server() as front, scripted_server() as store:
        yield Hub(front, store)
