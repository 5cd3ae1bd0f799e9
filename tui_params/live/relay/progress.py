"""Progress: what a relay has still to tell of a source: points of courses, and what its watch has seen."""

from __future__ import annotations

from collections.abc import Sequence

from tui_params.core.course import Course, Point
from tui_params.live.relay.messages import Dot, Stretch, Watched
from tui_params.live.watching.source import WatchedSource


class Progress:
    """Of one source. ``follow`` and ``news`` are for different threads."""

    def __init__(self, source: WatchedSource) -> None:
        self._source = source
        self._followed: tuple[str, ...] = ()
        self._told: dict[str, tuple[int, int, str]] = {}
        """By parameter, the last step of both kinds of points that was told, and the reason."""

        self._watched = Watched()
        self._events = 0

    def follow(self, names: Sequence[str]) -> None:
        """Tell the courses of these parameters from now on: first all that is known of those that were not told."""
        self._source.courses().want(names)
        self._followed = tuple(names)

    def news(self) -> tuple[dict[str, Stretch], Watched | None]:
        """What is new since the last call: of courses by parameter, and of the watch, None if nothing is."""
        return self._of_courses() if self._followed else {}, self._of_watch()

    def _of_courses(self) -> dict[str, Stretch]:
        courses = self._source.courses()
        courses.publish()
        found: dict[str, Stretch] = {}
        for name in self._followed:
            course = courses.of(name)
            if course is None:
                continue
            norm, update, reason = self._told.get(name, (-1, -1, ""))
            new = Stretch(_after(course.norms, norm), _after(course.updates, update), course.reason)
            if new.norms or new.updates or new.reason != reason:
                found[name] = new
                self._told[name] = _last(course, norm, update)
        return found

    def _of_watch(self) -> Watched | None:
        watching = self._source.watching()
        events = watching.events()[self._events :]
        self._events += len(events)
        now = Watched(watching.words, watching.standing)
        if now == self._watched and not events:
            return None
        self._watched = now
        return Watched(now.words, now.standing, list(events))


def _after(points: tuple[Point, ...], step: int) -> list[Dot]:
    return [Dot(point.step, point.value, point.word, point.is_scaled) for point in points if point.step > step]


def _last(course: Course, norm: int, update: int) -> tuple[int, int, str]:
    return (
        course.norms[-1].step if course.norms else norm,
        course.updates[-1].step if course.updates else update,
        course.reason,
    )
