"""What was found of the tensors of a run, kept from one look at it to the next: one file for each checkpoint.

A moment depends on the tensor, on the state of its file, and on both of the step that it was compared with. All of
that is in its key, so what belongs to another state is never found. Files that are small or not at rest are not kept.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import blake2b
from pathlib import Path

import msgspec

from tui_params.cache.figures import identity_at_rest
from tui_params.cache.folder import CacheFolder
from tui_params.cache.records import ENGINE, Identity, describe_layout, pack, tensor_key, unpack
from tui_params.core.compare.tracks import Moment, Track
from tui_params.core.source import Source
from tui_params.core.tensor import TensorInfo

_DIGEST = 16


class _Kept(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """A moment without its dtype and the index of the step before, which are known where it is asked for."""

    numel: int
    nan: int
    infinite: int
    norm: float | None
    abs_max: float | int | None
    change: float | None
    changed: float | None
    is_identical: bool | None


_LAYOUT = describe_layout(ENGINE, _Kept)
_encode = msgspec.msgpack.Encoder().encode


class _Step:
    """One checkpoint: its tensors, the files they are in, and what is kept of them."""

    def __init__(self, source: Source, folder: CacheFolder) -> None:
        self.tensors: Mapping[str, TensorInfo] = {info.name: info for info in source.listing.tensors}
        self.records: dict[bytes, bytes | msgspec.Raw] = {}
        self.used: dict[bytes, bytes | msgspec.Raw] = {}
        self.is_new = False
        self.identity: Identity | None = None
        self.name = ""
        self._source = source
        self._files: dict[Path, Identity | None] = {}
        for info in source.listing.tensors:
            found = source.data_file(info)
            if found is not None and found[0].path not in self._files:
                self._files[found[0].path] = identity_at_rest(found[0])
        self._states = {
            path: blake2b(repr(identity).encode(), digest_size=_DIGEST).digest()
            for path, identity in self._files.items()
            if identity is not None
        }
        self.identity = next((identity for identity in self._files.values() if identity is not None), None)
        if self.identity is not None:
            self.name = blake2b(self.identity.path, digest_size=_DIGEST, key=_LAYOUT).hexdigest() + ".moments"
            self._load(folder)

    def _load(self, folder: CacheFolder) -> None:
        found = folder.read(self.name)
        if found is None:
            return
        try:
            _, records = unpack(found[0])
        except ValueError as error:
            folder.complain(f"a file of kept timelines is ignored: {error}")
            return
        self.records = {**records}

    def place_of(self, name: str) -> bytes | None:
        """The tensor in its file and the state of that, as a part of a key; None if it is not kept."""
        found = self._source.data_file(self.tensors[name])
        state = self._states.get(found[0].path) if found is not None else None
        return tensor_key(found[1]) + state if found is not None and state is not None else None


class RunMoments:
    """The kept moments of a run whose steps are these sources. May be used from several threads."""

    def __init__(self, folder: CacheFolder, sources: Sequence[Source | None]) -> None:
        self._folder = folder
        self._given: dict[str, Sequence[Moment | None]] = {}
        self._steps = [_Step(source, folder) if source is not None else None for source in sources]

    def known(self, name: str) -> list[Moment | None]:
        """What is kept of a tensor: a moment or None for each step."""
        moments: list[Moment | None] = [None] * len(self._steps)
        # Of each shape, the step that the next is compared with, and where that has the tensor.
        before: dict[tuple[int, ...], tuple[int, bytes | None]] = {}
        for at, step in enumerate(self._steps):
            info = step.tensors.get(name) if step is not None else None
            if step is None or info is None or info.unreadable is not None:
                continue
            place = step.place_of(name)
            since, earlier = before.get(info.shape, (None, b""))
            key = _key(place, earlier)
            record = step.records.get(key) if key is not None else None
            kept = _decode(record) if record is not None else None
            if key is not None and record is not None and kept is not None and kept.numel == info.numel:
                step.used[key] = record
                moments[at] = _moment(kept, info, since)
            before[info.shape] = at, place
        self._given[name] = moments
        return moments

    def put(self, track: Track) -> None:
        """Remember what was found of a tensor, in memory."""
        given = self._given.pop(track.name, ())
        for at, moment in enumerate(track.moments):
            step = self._steps[at]
            if step is None or moment is None or moment.reason is not None:
                continue
            if at < len(given) and given[at] is moment:
                continue
            earlier = self._steps[moment.since] if moment.since is not None else None
            key = _key(step.place_of(track.name), b"" if earlier is None else earlier.place_of(track.name))
            if key is None or key in step.used:
                continue
            record = _record(moment)
            if record is not None:
                step.used[key] = record
                step.is_new = True

    def flush(self, *, is_whole: bool) -> None:
        """Write what is new; never raises. What was not asked for belongs to other states of the files.

        It is dropped, if ``is_whole``: every tensor was asked for or put.
        """
        has_written = False
        for step in self._steps:
            if step is not None and step.is_new and step.identity is not None:
                records = step.used if is_whole else step.records | step.used
                has_written |= self._folder.write(step.name, pack(step.identity, records)) is not None
                step.is_new = False
        if has_written:
            self._folder.evict()


def _key(place: bytes | None, before: bytes | None) -> bytes | None:
    """The key of a moment; ``before`` is empty where nothing is before it, None where that is not kept."""
    return None if place is None or before is None else blake2b(place + before, digest_size=_DIGEST).digest()


def _record(moment: Moment) -> bytes | None:
    """One record; None for a number that is beyond msgpack's 64 bits."""
    try:
        return _encode(msgspec.convert(moment, _Kept, from_attributes=True))
    except (OverflowError, msgspec.ValidationError):
        return None


def _decode(record: bytes | msgspec.Raw) -> _Kept | None:
    try:
        return msgspec.msgpack.decode(record, type=_Kept)
    except msgspec.MsgspecError:
        return None


def _moment(kept: _Kept, info: TensorInfo, since: int | None) -> Moment:
    return Moment(
        info.dtype.short,
        kept.numel,
        kept.nan,
        kept.infinite,
        kept.norm,
        kept.abs_max,
        since,
        kept.change,
        kept.changed,
        kept.is_identical,
    )
