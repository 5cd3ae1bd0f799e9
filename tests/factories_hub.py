"""Files as huggingface_hub leaves them on the disk: in its cache, and after a download to a folder."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def git_hash(content: bytes) -> str:
    """The hash of a git blob, as huggingface_hub.utils.sha.git_hash computes it."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def store(repository: Path, name: str, content: bytes, etag: str | None = None) -> Path:
    """Put a file into the cache of one repository (``models--org--name``); returns its path in the snapshot."""
    etag = sha256(content) if etag is None else etag
    blob = repository / "blobs" / etag
    blob.parent.mkdir(parents=True, exist_ok=True)
    blob.write_bytes(content)
    path = repository / "snapshots" / COMMIT / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(os.path.relpath(blob, path.parent))
    return path


def download(folder: Path, name: str, content: bytes, etag: str | None = None, seconds: float = 4e9) -> Path:
    """Put a file into a folder, with the metadata that ``_local_folder.write_download_metadata`` keeps of it."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    metadata = folder / ".cache" / "huggingface" / "download" / f"{name}.metadata"
    metadata.parent.mkdir(parents=True, exist_ok=True)
    metadata.write_text(f"{COMMIT}\n{sha256(content) if etag is None else etag}\n{seconds}\n")
    return path
