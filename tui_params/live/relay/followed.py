"""What a relay tells of a source without being asked, as the screen wants it: courses, and its watch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from threading import Lock

import msgspec

from tui_params.core.course import LOOKS, Course, Point
from tui_params.core.findings import Finding
from tui_params.core.source import Listing
from tui_params.core.text import clean
from tui_params.core.watching import NOTHING, Wish
from tui_params.live.relay import messages as m
from tui_params.live.relay.stream import Stream
from tui_params.live.watching.condition import parse_condition
from tui_params.live.watching.watchpoints import MOST


class RelayedCourses:
    """Courses that are looked at on the other machine: only their points come over the stream."""

    def __init__(self, stream: Stream, source: int, listing: Listing) -> None:
        self._stream, self._source = stream, source
        self._first = {info.name: info.first_name for info in listing.tensors if info.tied_to is not None}
        self._wanted: tuple[str, ...] = ()
        self._lock = Lock()
        self._known: dict[str, Course] = {}
        self._published: dict[str, Course] = {}
        self._is_new = False

    def want(self, names: Sequence[str]) -> None:
        wanted = tuple(dict.fromkeys(self._first.get(name, name) for name in names))[: m.MOST_FOLLOWED]
        if wanted != self._wanted:
            self._wanted = wanted
            self._stream.post(lambda mine: m.Follow(mine, self._source, [*wanted]))

    def take(self, news: Mapping[str, m.Stretch]) -> None:
        """What has come with a pulse."""
        with self._lock:
            for name, new in news.items():
                before = self._known.get(name, Course())
                norms = (*before.norms, *map(_point, new.norms))[-LOOKS:]
                updates = (*before.updates, *map(_point, new.updates))[-LOOKS:]
                self._known[name] = Course(norms, updates, clean(new.reason, 400))
            self._is_new = True

    def publish(self) -> bool:
        with self._lock:
            is_new, self._is_new = self._is_new, False
            if is_new:
                self._published = dict(self._known)
        return is_new

    def of(self, name: str) -> Course | None:
        return self._published.get(self._first.get(name, name))


def _point(dot: m.Dot) -> Point:
    return Point(dot.step, dot.value, clean(dot.word, 8), dot.is_scaled)


class RelayedWatching:
    """A watch that runs on the other machine, which also has the folder into which it saves."""

    def __init__(self, stream: Stream, source: int, begin: str) -> None:
        self.wish = Wish()
        self._stream, self._source, self._begin = stream, source, begin
        self._now = m.Watched()
        self._events: tuple[Finding, ...] = ()

    def start(self, names: Sequence[str] | None, wish: Wish) -> None:
        parsed = list(dict.fromkeys(parse_condition(word) for word in wish.conditions.split()))
        self.wish = msgspec.structs.replace(wish, conditions=" ".join(each.text for each in parsed))
        asked = None if names is None else [*names]
        if asked is not None and len(asked) > m.MOST_WATCHED:
            self._now = m.Watched(f"{NOTHING}: at most {m.MOST_WATCHED:,} names are sent; watch everything")
            return
        self._stream.post(lambda mine: m.Watch(mine, self._source, asked, wish, self._begin))

    def take(self, news: m.Watched) -> None:
        """What has come with a pulse."""
        self._now = m.Watched(clean(news.words, 400), clean(news.standing, 400))
        found = [Finding(each.severity, "watch", each.tensor, clean(each.evidence, 1000)) for each in news.events]
        self._events = (*self._events, *found)[:MOST]

    def stop(self) -> None:
        self.wish = Wish()
        self._now = m.Watched()
        self._stream.post(lambda mine: m.Unwatch(mine, self._source))

    @property
    def words(self) -> str:
        return self._now.words

    @property
    def standing(self) -> str:
        return self._now.standing

    def release(self) -> None:
        self._stream.post(lambda mine: m.Release(mine, self._source))

    def events(self) -> tuple[Finding, ...]:
        return self._events
