"""The metadata of a distributed checkpoint as torch pickles them, read many times as fast as by the inert machine.

Where a pattern fits, a whole tensor, a run of chunks or a place is taken at once; the rest goes one instruction after
the other. Anything that torch's writer does not write (another global, another instruction, a frame that does not fit)
ends the reading, and the inert machine reads the file from the start. So both read the same, or this one reads nothing.
"""

from __future__ import annotations

import re

from tui_params.sources.folder.dcp.builder import Builder, Done, is_within, sizes_of
from tui_params.sources.folder.dcp.instructions import GivenUpError, Instructions, without_frames
from tui_params.sources.folder.dcp.metadata import MAX_NUMBER, Metadata, Shape
from tui_params.sources.folder.dcp.patterns import (
    TEXT,
    chunk_pattern,
    number_of,
    place_pattern,
    sizes_in,
    tensor_pattern,
)
from tui_params.sources.inert_pickle.values import Stub

_MOST_KEPT = 20_000
from_bytes = int.from_bytes

_Layout = tuple[tuple[Shape, ...], tuple[Shape, ...], int]


def scan_metadata(data: bytes, what: str) -> Metadata | None:
    """What the pickle says; None where it is not written as torch's writer does, whatever it is. Raises OpenError."""
    plain = without_frames(data)
    if plain is None:
        return None
    scan = Scan(plain, what)
    try:
        found = scan.builder.finish(scan.run())
    except (GivenUpError, IndexError, KeyError, UnicodeDecodeError):
        return None
    # Of what is said twice the order decides, which is another one here.
    return None if scan.builder.is_doubled else found


class Scan(Instructions):
    """One reading of one file."""

    def __init__(self, data: bytes, what: str) -> None:
        super().__init__(data)
        self.builder = Builder(what)
        self._sizes: dict[bytes, tuple[Shape | None, int]] = {}
        self._layouts: dict[tuple[bytes, Shape], _Layout] = {}
        self._tensor: tuple[re.Pattern[bytes], ...] = ()
        self._numbers: dict[bytes, int] = {}
        self._texts: dict[bytes, str] = {}
        self._place: re.Pattern[bytes] | None = None
        self._chunks: tuple[re.Pattern[bytes], re.Pattern[bytes]] | None = None

    def take(self, name: str, start: int) -> bool:
        outer = self.outer
        if len(outer) != 2 or len(outer[1]) < 2 or type(outer[1][-1]) is not dict:
            return False
        try:
            if name == "TensorStorageMetadata" and outer[1][-2] == "state_dict_metadata":
                return self._take_tensors(start)
            if name == "MetadataIndex" and outer[1][-2] == "storage_data":
                return self._take_places(start)
        except KeyError:
            # A class or a key that the pattern needs has not been met yet.
            return False
        return False

    def _take_tensors(self, start: int) -> bool:
        """Take a tensor whose name is on the stack, and those that follow."""
        if self._chunks is None:
            chunk, tensor = chunk_pattern(self.numbers), tensor_pattern(self.numbers)
            self._chunks = re.compile(chunk, re.DOTALL), re.compile(rb"(?:" + chunk + rb")+", re.DOTALL)
            self._tensor = re.compile(tensor, re.DOTALL), re.compile(rb"(" + TEXT + rb")" + tensor, re.DOTALL)
        stack = self.stack
        if len(stack) % 2 == 0 or type(stack[-1]) is not str:
            return False
        match = self._tensor[0].match(self.data, start)
        if match is None or not self._take_tensor(stack[-1], 0, match, match[1], match[2]):
            return False
        following = self._tensor[1]
        while (match := following.match(self.data, self.pos)) is not None:
            raw, reference, sizes = match.groups()
            name = self._peek(raw)
            is_new = raw[0] == 0x8C
            if not self._take_tensor(name, is_new, match, reference, sizes, name):
                break
        return True

    def _take_tensor(
        self, name: str, is_new: int, match: re.Match[bytes], reference: bytes, sizes: bytes, *pushed: str
    ) -> bool:
        """Take the tensor of which ``match`` has the beginning; if not, nothing has changed.

        ``is_new``: its name is stored with it. ``pushed`` is the name, if it is not on the stack yet.
        """
        data = self.data
        dtype = self.memo.get(int.from_bytes(reference[1:], "little"))
        shape, count = self._size_of(sizes)
        if type(dtype) is not Stub or dtype.module != "torch" or shape is None:
            return False
        pos, count = match.end(), count + 5 + is_new
        layouts = []
        while data[pos] != 0x75:
            # A list is written in batches: (..., e, the last one alone: ..., a.
            is_batch = data[pos] == 0x28
            assert self._chunks is not None
            found = self._chunks[is_batch].match(data, pos + is_batch)
            if found is None or data[found.end()] != (0x65 if is_batch else 0x61):
                return False
            layout = self._layout_of(found[0], shape)
            if layout is None:
                return False
            layouts.append(layout)
            count += layout[2]
            pos = found.end() + 1
        if data[pos + 1] != 0x62:
            return False
        tensor = self.builder.add_tensor(name, shape, dtype.name)
        for starts, shapes, _ in layouts:
            self.builder.add_chunks(tensor, starts, shapes)
        if is_new:
            self.memo[self.count] = name
            self.numbers.setdefault(name, self.count)
        self.stack += (*pushed, Done(tensor))
        self.count += count
        self.pos = pos + 2
        return True

    def _layout_of(self, raw: bytes, shape: Shape) -> _Layout | None:
        """Where the chunks begin, their sizes, and how many values were stored; None if one is not within the shape.

        Tensors of one shape are cut alike, and their chunks are the same bytes.
        """
        key = (raw, shape)
        if key in self._layouts:
            return self._layouts[key]
        assert self._chunks is not None
        starts, shapes, count = [], [], 0
        for first, second in self._chunks[0].findall(raw):
            start, more = self._size_of(first)
            sizes, most = self._size_of(second)
            if start is None or sizes is None or not is_within(start, sizes, shape):
                return None
            starts.append(start)
            shapes.append(sizes)
            count += 2 + more + most
        if len(self._layouts) >= _MOST_KEPT:
            self._layouts.clear()
        found = self._layouts[key] = tuple(starts), tuple(shapes), count
        return found

    def _size_of(self, raw: bytes) -> tuple[Shape | None, int]:
        """The numbers of a ``torch.Size``, and how many values were stored; None if they are none of a size."""
        known = self._sizes.get(raw)
        if known is None:
            if len(self._sizes) >= _MOST_KEPT:
                self._sizes.clear()
            known = self._sizes[raw] = sizes_of(sizes_in(raw)), 2 if raw == b")" else 3
        return known

    def _take_places(self, start: int) -> bool:
        if self._place is None:
            self._place = re.compile(place_pattern(self.numbers), re.DOTALL)
        if len(self.stack) % 2:
            return False
        match, data, put = self._place.match, self.data, self.builder.placing()
        known, sizes_of_raw, texts = self._numbers, self._sizes, self._texts
        pos = start
        # There may be millions of them: whatever is called once for each shows.
        while (found := match(data, pos)) is not None:
            name, hint, sizes, file, offset, length = found.groups()
            size = sizes_of_raw.get(sizes) or self._size_of(sizes)
            index = known.get(hint)
            if index is None:
                index = self._number(hint)
            last = known.get(length)
            if last is None:
                last = self._number(length)
            # J, an INT of four bytes, is what nearly all are.
            first = from_bytes(offset[1:], "little", signed=True) if offset[0] == 0x4A else number_of(offset)
            if size[0] is None or index < 0 or not 0 <= first <= MAX_NUMBER or not 0 <= last <= MAX_NUMBER:
                break
            self.count += 2
            text = texts.get(name)
            text = self._text(name) if text is None else self._again(name, text)
            self.count += size[1] + 2
            path = texts.get(file)
            put(text, size[0], index, self._text(file) if path is None else self._again(file, path), first, last)
            pos = found.end()
        self.pos = pos if pos > start else self.pos
        return pos > start

    def _again(self, raw: bytes, text: str) -> str:
        """A text that was met with the same bytes before; where it stands here it is stored anew."""
        if raw[0] == 0x8C:
            self.memo[self.count] = text
            self.count += 1
        return text

    def _number(self, raw: bytes) -> int:
        """One INT of those that occur often."""
        if len(self._numbers) >= _MOST_KEPT:
            self._numbers.clear()
        found = self._numbers[raw] = number_of(raw)
        return found

    def _peek(self, raw: bytes) -> str:
        """A text that is stored before, or that stands here."""
        if raw[0] == 0x8C:
            if raw[1] != len(raw) - 3:
                # The pattern went on to the first end that fits: it is not where this text ends.
                raise GivenUpError
            return raw[2:-1].decode()
        text = self.memo[int.from_bytes(raw[1:], "little")]
        if type(text) is not str:
            raise GivenUpError
        return text

    def _text(self, raw: bytes) -> str:
        """A text that is stored before, or that stands here and is stored now."""
        text = self._peek(raw)
        if raw[0] == 0x8C:
            self.memo[self.count] = text
            self.numbers.setdefault(text, self.count)
            self.count += 1
        if len(self._texts) >= _MOST_KEPT:
            self._texts.clear()
        self._texts[raw] = text
        return text
