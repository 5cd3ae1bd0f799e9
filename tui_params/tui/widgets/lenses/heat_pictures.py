"""HeatPictures: what is known of one plane, and the questions about it that are on their way."""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING

import msgspec

from tui_params.core.numbers.region import Region
from tui_params.core.tensor import TensorInfo
from tui_params.core.window import Plane
from tui_params.tui.desk.tensor_desk import Answer, Task, TensorDesk

if TYPE_CHECKING:
    from tui_params.core.numbers.block_picture import BlockPicture
    from tui_params.core.numbers.raster import BlockFacts

SAMPLE, WHOLE, NEAR, BLOCK = "heat.sample", "heat.whole", "heat.near", "heat.block"
"""The slots: a sample of the plane, all of it, the part in sight in smaller blocks, the block at the place."""

_STOPPED_BEYOND = 1 << 27
"""Elements of a plane whose reading goes on, at most, while another lens is up."""


class Share(msgspec.Struct, frozen=True, gc=False):
    """How many of the elements are read."""

    done: int


class HeatPictures:
    """The pictures of one plane under one key, each asked for once; and the figures of one block."""

    def __init__(self, desk: TensorDesk) -> None:
        self._desk = desk
        self._key: Hashable = None
        self._plane_of: Hashable = None
        self._asked: dict[str, Hashable] = {}
        self._tried: dict[str, Hashable] = {}
        self.sampled: BlockPicture | None = None
        self.whole: BlockPicture | None = None
        self.near: BlockPicture | None = None
        self.facts: BlockFacts | None = None
        self.reason: str | None = None
        self.toll = ""
        """Why the plane is not read unless the user asks for it."""
        self.done = 0
        self.is_old = False

    @property
    def found(self) -> list[BlockPicture]:
        """The pictures that are here, the most exact first."""
        return [picture for picture in (self.whole, self.near, self.sampled) if picture is not None]

    @property
    def is_settled(self) -> bool:
        return not self._asked

    @property
    def is_reading_whole(self) -> bool:
        return WHOLE in self._asked

    def turn_to(self, plane_of: Hashable, version: Hashable) -> None:
        """Begin anew if this is about another plane; of another version, the old pictures stay until it is read."""
        key = plane_of, version
        if key == self._key:
            return
        is_same_plane = self._plane_of == plane_of
        self._key, self._plane_of = key, plane_of
        for slot in tuple(self._asked):
            self._take_back(slot)
        self._tried.clear()
        self.near = self.facts = self.reason = None
        self.done = 0
        if is_same_plane and self.whole is not None:
            self.is_old = True
        else:
            self.sampled, self.whole, self.is_old = None, None, False

    def pause(self, view: Plane | None) -> None:
        """Take back what would not soon be done."""
        for slot in (SAMPLE, NEAR, BLOCK):
            self._take_back(slot)
        if view is not None and view.row_count * view.column_count > _STOPPED_BEYOND:
            self._take_back(WHOLE)

    def _ask(self, slot: str, key: Hashable) -> bool:
        """Whether this is to be asked: it is not on its way, and was not answered last, be it by a reason."""
        if key in (self._asked.get(slot), self._tried.get(slot)):
            return False
        self._asked[slot] = key
        return True

    def _take_back(self, slot: str) -> None:
        if self._asked.pop(slot, None) is not None:
            self._desk.stop(slot)

    def want_plane(self, info: TensorInfo, view: Plane) -> None:
        """Ask for a sample of the plane, and for all of it."""
        if self.whole is not None and not self.is_old:
            return
        self.toll = self._desk.refuse(info, view.row_count * view.column_count)
        if self.toll:
            for slot in (SAMPLE, WHOLE, NEAR):
                self._take_back(slot)
                self._tried.pop(slot, None)
            return
        if not self._ask(WHOLE, self._key):
            return
        region, desk = Region(0, 0, view.row_count, view.column_count), self._desk

        def read(task: Task) -> BlockPicture:
            from tui_params.core.reading.block_reading import read_picture

            task.check()
            return read_picture(
                desk.source, info, view, region, check=task.check, progress=lambda done: task.tell(Share(done))
            )

        def sample(task: Task) -> BlockPicture | None:
            from tui_params.core.reading.block_reading import sample_picture

            task.check()
            return sample_picture(desk.source, info, view)

        if self.whole is None and self.sampled is None:
            self._asked[SAMPLE] = self._key
            desk.ask(SAMPLE, self._key, sample)
        desk.ask(WHOLE, self._key, read)

    def want_near(self, info: TensorInfo, view: Plane, part: Region) -> None:
        """Ask for a part in smaller blocks, and half as much on each side, so that one can go on."""
        top, left = max(0, part.top - part.height // 2), max(0, part.left - part.width // 2)
        bottom = min(view.row_count, part.top + part.height + part.height // 2)
        right = min(view.column_count, part.left + part.width + part.width // 2)
        region = Region(top, left, bottom - top, right - left)
        key, desk = (self._key, region), self._desk
        if not self._ask(NEAR, key):
            return

        def read(task: Task) -> BlockPicture:
            from tui_params.core.reading.block_reading import read_picture

            task.check()
            return read_picture(desk.source, info, view, region, check=task.check)

        desk.ask(NEAR, key, read)

    def want_block(self, info: TensorInfo, view: Plane, block: Region) -> None:
        """Ask for the exact figures of a block, unless it is too large to be read in passing."""
        from tui_params.core.reading.block_reading import MOST_READ

        key, desk = (self._key, block), self._desk
        if block.numel > MOST_READ or not self._ask(BLOCK, key):
            return

        def read(task: Task) -> BlockFacts:
            from tui_params.core.reading.block_reading import read_block

            task.check()
            return read_block(desk.source, info, view, block)

        desk.ask(BLOCK, key, read)

    def facts_of(self, info: TensorInfo, view: Plane, block: Region) -> BlockFacts | None:
        """What is known of a block by now; its exact figures are asked for."""
        from tui_params.core.numbers.raster import facts_in

        if self.facts is not None and self.facts.region == block:
            return self.facts
        self.want_block(info, view, block)
        known = [facts_in(picture, block) for picture in self.found if picture.region.holds(block)]
        return next((facts for facts in known if facts.region == block), known[0] if known else None)

    def take(self, answer: Answer) -> bool:
        """Take an answer; False if it is not awaited. A reason is kept if there is no picture without the answer."""
        if self._asked.get(answer.slot) != answer.key:
            return False
        if not answer.is_last:
            if isinstance(answer.result, Share):
                self.done = answer.result.done
            return True
        self._tried[answer.slot] = self._asked.pop(answer.slot)
        if answer.reason is None:
            self._take_result(answer)
        elif answer.slot == WHOLE:
            self._take_back(SAMPLE)
            self.reason = answer.reason
        return True

    def _take_result(self, answer: Answer) -> None:
        from tui_params.core.numbers.block_picture import BlockPicture
        from tui_params.core.numbers.raster import BlockFacts

        result = answer.result
        if isinstance(result, BlockFacts):
            self.facts = result
        elif isinstance(result, BlockPicture):
            if answer.slot == SAMPLE:
                self.sampled = result
            elif answer.slot == NEAR:
                self.near = result
            else:
                self.whole, self.sampled, self.is_old = result, None, False
                self._take_back(SAMPLE)
