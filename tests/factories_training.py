"""A model that seems to train in another process: always at the same step, with the same courses."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from tui_params.core import text
from tui_params.core.beat import Beat
from tui_params.core.course import Course, Point
from tui_params.core.findings import Finding
from tui_params.core.watching import Wish
from tui_params.live.source import ModelSource
from tui_params.live.watching.condition import parse_condition

STEP = 48_012


class FixedCourses:
    """Courses that were seen already."""

    def __init__(self, known: Mapping[str, Course]) -> None:
        self._known, self._published = known, False
        self.wanted: list[str] = []

    def want(self, names: Sequence[str]) -> None:
        self.wanted = list(names)

    def publish(self) -> bool:
        was, self._published = self._published, True
        return not was

    def of(self, name: str) -> Course | None:
        return self._known.get(name) if self._published else None


class FixedWatching:
    """A watch that sees what it is told to see."""

    def __init__(self) -> None:
        self.wish = Wish()
        self.words = self.standing = ""
        self.names: Sequence[str] | None = ()
        self.seen: tuple[Finding, ...] = ()

    def start(self, names: Sequence[str] | None, wish: Wish) -> None:
        conditions = wish.conditions
        for word in conditions.split():
            parse_condition(word)
        self.names, self.wish = names, wish
        count = "everything" if names is None else text.plural(len(names), "tensor")
        self.words = f"watching {count} for {conditions}"

    def stop(self) -> None:
        self.wish = Wish()
        self.words = self.standing = ""

    def release(self) -> None:
        self.standing = ""

    def events(self) -> tuple[Finding, ...]:
        return self.seen


class TrainingSource(ModelSource):
    """A model of this process as a source that trains meanwhile."""

    def __init__(self, model: Any, courses: Mapping[str, Course] | None = None) -> None:
        super().__init__(model)
        self.listing = msgspec.structs.replace(self.listing, format="model of another process")
        self.label = "run 7 (4242)"
        self._watching = FixedWatching()
        self._courses = FixedCourses(courses if courses is not None else courses_of(self))

    def beat(self) -> Beat:
        return Beat(STEP, 0.12)

    def watching(self) -> FixedWatching:
        return self._watching

    def courses(self) -> FixedCourses:
        return self._courses


def courses_of(source: ModelSource) -> dict[str, Course]:
    """Waves of norms that end with those that the gradients have; one that has NaN now has had it for two steps."""
    found = {}
    for place, (name, info) in enumerate(source.listing.gradients.items()):
        steps = range(STEP - 59, STEP + 1)
        figures = source.summarize(info.name).figures(info.numel)
        norm = figures.l2_norm or 0.0
        waves = [0.4 + 0.3 * math.sin(step / 3 + place) * (step % 5 != place % 5) for step in steps]
        norms = [Point(step, norm * wave / waves[-1]) for step, wave in zip(steps, waves, strict=True)]
        updates = [Point(step, 2e-3 + 1e-3 * math.cos(step / 9 + place)) for step in steps]
        if figures.nan:
            norms[-2:] = [Point(step, None, "NaN") for step in steps[-2:]]
            updates[-2:] = [Point(step, None, "NaN") for step in steps[-2:]]
        found[name] = Course(tuple(norms), tuple(updates))
    return found
