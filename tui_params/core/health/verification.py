"""Verification: what came of comparing the files of a source with the digests that the hub gave for them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import msgspec

from tui_params.core.findings import Finding
from tui_params.core.source import Unfinished
from tui_params.core.text import clean, size

_NAMES = {"sha256": "SHA-256", "git-sha1": "git hash"}

FileState = Literal["verified", "mismatch", "unverified"]


class VerifiedFile(msgspec.Struct, frozen=True, gc=False):
    """What came of comparing a file with the digest that it has on the hub.

    ``expected`` and ``actual`` are hexadecimal digits, or None where they are not known. ``reason`` is one sentence:
    why the file is ``unverified``, else where the digest was found.
    """

    file: str
    state: FileState
    algorithm: str | None
    expected: str | None
    actual: str | None
    reason: str

    @property
    def words(self) -> str:
        """The outcome as one sentence after the name of the file."""
        if self.state == "unverified":
            return f"not verified: {self.reason}"
        name = _NAMES.get(self.algorithm or "", "")
        if self.state == "verified":
            return f"verified: {name} {(self.actual or '')[:12]}… ({self.reason})"
        return f"its {name} is {self.actual}, but {self.expected} on the hub ({self.reason})"


class Verification(msgspec.Struct, frozen=True):
    """The files of a source, and downloads beside them that did not finish."""

    files: tuple[VerifiedFile, ...]
    unfinished: tuple[Unfinished, ...] = ()

    @property
    def findings(self) -> tuple[Finding, ...]:
        """An error for each file that is not that of the hub, and a remark for each unfinished download."""
        wrong = [
            Finding(
                "error",
                "digest",
                None,
                f"it is not the file of the hub: {file.words}",
                file=file.file,
            )
            for file in self.files
            if file.state == "mismatch"
        ]
        left = [
            Finding(
                "info",
                "unfinished-download",
                None,
                f"{clean(part.name, 160)} ({size(part.nbytes)}) is a download that did not finish; it was not read",
            )
            for part in self.unfinished
        ]
        return (*wrong, *left)

    @property
    def unverified(self) -> tuple[VerifiedFile, ...]:
        """The files of which nothing can be said."""
        return tuple([file for file in self.files if file.state == "unverified"])

    @property
    def is_whole(self) -> bool:
        """Whether there are files, and each is that of the hub."""
        return bool(self.files) and all(file.state == "verified" for file in self.files)


def count_words(files: Iterable[VerifiedFile]) -> str:
    """How many files are what: ``3 files verified, 1 not verified``."""
    states = [file.state for file in files]
    counts = ((states.count("verified"), "verified"), (states.count("mismatch"), "not that of the hub"))
    parts = [f"{count:,} {what}" for count, what in (*counts, (states.count("unverified"), "not verified")) if count]
    first = parts[0].partition(" ")
    return ", ".join([f"{first[0]} file{'' if first[0] == '1' else 's'} {first[2]}", *parts[1:]])
