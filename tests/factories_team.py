"""A team whose processes are threads of this one, so that tests need neither torch nor processes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from queue import Empty, SimpleQueue
from threading import Thread
from typing import TypeVar

from tui_params.core.team import Team
from tui_params.errors import ShareReadError
from tui_params.ranks.channel import LeaderGoneError
from tui_params.ranks.helper import Helper
from tui_params.ranks.inbox import Inbox
from tui_params.ranks.leader import Leader

T = TypeVar("T")

Line = SimpleQueue[tuple[int, bytes | None]]


class Wire:
    """The post of one helper: what it sends stands in a queue that all helpers share."""

    def __init__(self, line: Line, number: int) -> None:
        self._line = line
        self._number = number
        self.sent = 0
        self.most = 1 << 62
        """How many pieces are sent before the helper dies."""

    def send(self, piece: bytes) -> None:
        if self.sent >= self.most:
            raise LeaderGoneError
        self.sent += 1
        self._line.put((self._number, piece))

    def end(self) -> None:
        self._line.put((self._number, None))


class LineIntake:
    """The intake of the leader."""

    def __init__(self, line: Line) -> None:
        self._line = line

    def take(self) -> Iterator[tuple[int, bytes | None]]:
        try:
            yield self._line.get(timeout=0.01)
            while True:
                yield self._line.get_nowait()
        except Empty:
            return

    def close(self) -> None:
        pass


class TeamOfThreads:
    """``ways`` threads; ``most_silent`` is how long one may be silent, ``versions`` are those that helpers claim."""

    def __init__(self, ways: int, *, most_silent: float = 60.0, versions: dict[int, str] | None = None) -> None:
        line: Line = SimpleQueue()
        self.wires = {number: Wire(line, number) for number in range(1, ways)}
        self.inbox = Inbox(ways, LineIntake(line), "rank", most_silent)
        self.leader = Leader(ways, self.inbox, "rank", 1, "1.0")
        self.helpers = {
            number: Helper(number, ways, wire, 1, (versions or {}).get(number, "1.0"))
            for number, wire in self.wires.items()
        }

    def run(self, command: Callable[[Team], T], *, helping: Callable[[Team], object] | None = None) -> T:
        """What the leader makes of the command; the helpers run ``helping`` if that is something else."""

        def help_out(number: int) -> None:
            try:
                (helping or command)(self.helpers[number])
            except ShareReadError:
                return
            finally:
                self.wires[number].end()

        threads = [Thread(target=help_out, args=(number,), daemon=True) for number in self.helpers]
        for thread in threads:
            thread.start()
        try:
            return command(self.leader)
        finally:
            self.leader.close()
            for thread in threads:
                thread.join(100)
