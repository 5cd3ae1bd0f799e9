"""What a repository of the hub holds at one commit: one answer of its API, or more where it holds many files."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TypeVar
from urllib.parse import quote

import msgspec

from tui_params.core.text import clean, size
from tui_params.errors import ReadError
from tui_params.sources.remote.paths import inside
from tui_params.sources.remote.ranges import Question, Ranges
from tui_params.sources.remote.transport import Entry
from tui_params.sources.remote.wire import host_of

MOST_ENTRIES = 100_000
"""The most files and folders of a repository that are listed."""

_MANY = 1_000
"""So many files are a page of the list, and may not all stand beside the commit."""

_MOST_NBYTES = 64 << 20
"""The most bytes of one answer."""

_T = TypeVar("_T")

_COMMIT = re.compile(r"[0-9a-f]{40}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


class Repository(msgspec.Struct, frozen=True):
    """A repository: ``kind`` is ``models``, ``datasets`` or ``spaces``, ``name`` is ``org/name`` or ``name``."""

    kind: str
    name: str
    revision: str

    @property
    def prefix(self) -> str:
        """What stands before a path in the URL of a file."""
        return self.name if self.kind == "models" else f"{self.kind}/{self.name}"


class _LfsOfSibling(msgspec.Struct):
    sha256: str
    size: int


class _Sibling(msgspec.Struct):
    """A file as ``?blobs=true`` lists it: ``hf_api.py`` of huggingface_hub, ``files_metadata``."""

    rfilename: str
    blobId: str = ""  # noqa: N815
    size: int | None = None
    lfs: _LfsOfSibling | None = None

    def item(self) -> _Item:
        lfs = _Lfs(self.lfs.sha256, self.lfs.size) if self.lfs is not None else None
        return _Item("file", self.rfilename, self.blobId, self.size or 0, lfs)


class _Revision(msgspec.Struct):
    sha: str
    siblings: list[_Sibling] = []


class _Lfs(msgspec.Struct):
    oid: str
    size: int


class _Item(msgspec.Struct):
    type: str
    path: str
    oid: str = ""
    size: int = 0
    lfs: _Lfs | None = None


class Tree:
    """The files and folders of a repository at the commit ``sha``, by path and by folder."""

    def __init__(self, sha: str) -> None:
        self.sha = sha
        self.entries: dict[str, Entry] = {"": Entry("", is_folder=True)}
        self.folders: dict[str, list[Entry]] = {"": []}

    def add(self, path: str, entry: Entry) -> None:
        """A file or folder, and the folders that it lies in."""
        if path in self.entries:
            return
        folder = path.rpartition("/")[0]
        if folder not in self.folders:
            self.add(folder, Entry(folder.rpartition("/")[2], is_folder=True))
        self.entries[path] = entry
        self.folders.setdefault(folder, []).append(entry)
        if entry.is_folder:
            self.folders.setdefault(path, [])


def read_tree(ranges: Ranges, endpoint: str, repository: Repository, question: Question) -> Tree:
    """Asks for the commit of the revision and for all that is in it; ``question`` has the headers and the hint.

    The answer that tells the commit lists the files too. Of many files, or without their sizes, the list is asked for
    by itself, in pages. Raises FileNotFoundError, ReadError.
    """
    api = f"{endpoint}/api/{repository.kind}/{quote(repository.name)}"
    shown = f"{repository.name}@{repository.revision}"
    sha = repository.revision
    if not _COMMIT.fullmatch(sha):
        url = f"{api}/revision/{quote(sha, safe='')}?blobs=true"
        text, _ = ranges.text(msgspec.structs.replace(question, url=url, file=shown), _MOST_NBYTES)
        found = _decoded(text, _Revision, endpoint)
        sha = found.sha
        if not _COMMIT.fullmatch(sha):
            raise ReadError(f"{host_of(endpoint)} names no commit for {clean(shown, 120)}")
        if 0 < len(found.siblings) < _MANY and all(each.blobId and each.size is not None for each in found.siblings):
            return _tree_of(sha, found.siblings)
    tree = Tree(sha)
    page: str | None = f"{api}/tree/{sha}?recursive=true"
    while page is not None:
        text, page = ranges.text(msgspec.structs.replace(question, url=page, file=shown), _MOST_NBYTES)
        items = _decoded(text, list[_Item], endpoint)
        if page is not None and not items:
            raise ReadError(f"{host_of(endpoint)} has a list of {clean(shown, 120)} that does not end")
        for item in items:
            _add(tree, item)
        if len(tree.entries) > MOST_ENTRIES:
            raise ReadError(f"{clean(shown, 120)} has more than {MOST_ENTRIES:,} files")
    return tree


def _tree_of(sha: str, siblings: Sequence[_Sibling]) -> Tree:
    tree = Tree(sha)
    for each in siblings:
        _add(tree, each.item())
    return tree


def _add(tree: Tree, item: _Item) -> None:
    try:
        path = inside(item.path)
    except ReadError:
        # It leads out of the repository: such a file cannot be in git.
        return
    if not path:
        return
    name = path.rpartition("/")[2]
    if item.type == "directory":
        tree.add(path, Entry(name, is_folder=True))
    elif item.type == "file":
        oid, nbytes = (item.lfs.oid, item.lfs.size) if item.lfs else (item.oid, item.size)
        digest = oid if item.lfs and _SHA256.fullmatch(oid) else None
        tree.add(path, Entry(name, size=nbytes, version=oid, digest=digest))


def _decoded(text: bytes, kind: type[_T], endpoint: str) -> _T:
    try:
        return msgspec.json.decode(text, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise ReadError(
            f"{host_of(endpoint)} does not answer as the Hugging Face Hub does ({size(len(text))} of something else)"
        ) from None
