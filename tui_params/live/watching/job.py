"""JobSource: the models of all ranks of a job that are served, as one source: ``rank0.``, ``rank1.`` and so on.

Tensors of which each rank has some rows stand once more below ``whole.``, with the values of all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec

from tui_params.core import text
from tui_params.core.beat import Beat
from tui_params.core.course import Course, Courses
from tui_params.core.findings import Finding
from tui_params.core.over_ranks import OverRanks
from tui_params.core.reading.partial import WorkedOut
from tui_params.core.source import Line, Listing, Source, Traffic
from tui_params.core.tensor import TensorInfo
from tui_params.core.window import Window
from tui_params.errors import ReadError
from tui_params.live.attached.replicas import are_replicas, compare_ranks, steps_before
from tui_params.live.attached.together import Part
from tui_params.live.attached.trained import TrainedSource
from tui_params.live.attached.wholes import blocks_of, find_wholes, window_of
from tui_params.live.watching.drift import Drift
from tui_params.live.watching.job_watching import JobWatching
from tui_params.live.watching.over_ranks import look_over_ranks

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

WHOLE = "whole"
"""The module below which tensors stand that the ranks have together."""


class JobSource(Source):
    """The model of every rank below ``rankN.``, wholes, and what is to be said of parameters. Raises OpenError.

    ``openers`` open the models by rank, wherever they are; ``size`` is how many ranks the job has. ``place`` ends the
    sentence that ranks are not served: on this machine, or on those that were named.
    """

    _drift: Drift | None = None

    def __init__(
        self, openers: Mapping[int, Callable[[], TrainedSource]], size: int, name: str, place: str = "on this machine"
    ) -> None:
        self._ranks: dict[int, TrainedSource] = {}
        try:
            for rank in sorted(openers):
                self._ranks[rank] = openers[rank]()
                self._ranks[rank].files_begin = f"rank{rank}-"
            self._replicas = compare_ranks(self._ranks) if len(self._ranks) > 1 else ()
            self._wholes = {each.info.name: each for each in find_wholes(self._ranks, size, WHOLE)}
        except BaseException:
            self.close()
            raise
        self._missing: tuple[Finding, ...] = ()
        missing = [rank for rank in range(size) if rank not in openers]
        if missing:
            shown = ", ".join(map(str, missing[:8])) + (f" and {len(missing) - 8} more" if len(missing) > 8 else "")
            words = f"of {size} ranks, {text.plural(len(missing), 'is', 'are')} not served {place}: {shown}"
            self._missing = (Finding("info", "ranks-missing", None, words),)
        self.label = text.clean(f"{name} ({len(openers)} of {size} ranks)", 120)
        lines = {source.line.address: source.line for source in self._ranks.values() if source.line is not None}
        self.line = JobLine(lines) if lines else None
        self._own: dict[str, tuple[TrainedSource, TensorInfo]] = {}
        self.listing = self._merged()
        self._before: dict[int, int] = {}
        self._courses: Courses | None = None
        self._watching: JobWatching | None = None

    def _take_replicas(self, found: tuple[Finding, ...]) -> None:
        """What a comparison that was made anew has to say, in place of the one before."""
        self._replicas = found
        self.listing = msgspec.structs.replace(self.listing, findings=self._findings())

    def _findings(self) -> tuple[Finding, ...]:
        own = [
            _about(finding, f"rank{rank}")
            for rank, source in self._ranks.items()
            for finding in source.listing.findings
        ]
        return (*self._replicas, *self._missing, *own)

    def _merged(self) -> Listing:
        parts = {f"rank{rank}": source for rank, source in self._ranks.items()}
        whole = [each.info for each in self._wholes.values()]
        tensors = [info for info in whole if info.kind != "gradient"]
        gradients = {info.name.removesuffix(".grad"): info for info in whole if info.kind == "gradient"}
        for prefix, source in parts.items():
            listing = source.listing
            tensors += [self._below(prefix, source, info) for info in listing.tensors]
            gradients |= {
                f"{prefix}.{name}": self._below(prefix, source, info) for name, info in listing.gradients.items()
            }
        return Listing(
            format="ranks of a job",
            tensors=tuple(tensors),
            metadata=_below(parts, lambda listing: listing.metadata),
            modules=_below(parts, lambda listing: listing.modules),
            gradients=gradients,
            findings=self._findings(),
            is_ordered=True,
            absences=_below(parts, lambda listing: listing.absences),
        )

    def _below(self, prefix: str, source: TrainedSource, info: TensorInfo) -> TensorInfo:
        tied_to = None if info.tied_to is None else f"{prefix}.{info.tied_to}"
        found = msgspec.structs.replace(info, name=f"{prefix}.{info.name}", tied_to=tied_to)
        self._own[found.name] = source, info
        return found

    def _owner(self, info: TensorInfo) -> tuple[TrainedSource, TensorInfo]:
        found = self._own.get(info.name)
        if found is None:
            raise ReadError(f"{self.label} has no tensor {info.name}")
        return found

    def read_window(self, info: TensorInfo, window: Window) -> NDArray[Any]:
        if info.name in self._wholes:
            return window_of(self._wholes[info.name], window)
        source, own = self._owner(info)
        return source.read_window(own, window)

    def blocks(self, info: TensorInfo, start: int = 0, stop: int | None = None) -> Iterator[NDArray[np.uint8]]:
        if info.name in self._wholes:
            return blocks_of(self._wholes[info.name], start, stop)
        source, own = self._owner(info)
        return source.blocks(own, start, stop)

    @contextmanager
    def expecting(self, infos: Callable[[], Sequence[TensorInfo]]) -> Iterator[None]:
        def of(source: TrainedSource) -> list[TensorInfo]:
            own = (self._own.get(info.name) for info in infos())
            return [found[1] for found in own if found is not None and found[0] is source]

        with ExitStack() as stack:
            for source in self._ranks.values():
                stack.enter_context(source.expecting(partial(of, source)))
            yield

    def works_out(self, info: TensorInfo, *, has_summary: bool) -> bool:
        own = self._own.get(info.name)
        return own is not None and own[0].works_out(own[1], has_summary=has_summary)

    def worked_out(
        self,
        info: TensorInfo,
        *,
        has_summary: bool,
        should_stop: Callable[[], bool] | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> WorkedOut | None:
        own = self._own.get(info.name)
        if own is None:
            return None
        return own[0].worked_out(own[1], has_summary=has_summary, should_stop=should_stop, progress=progress)

    def sought_out(
        self,
        info: TensorInfo,
        wanted: Sequence[tuple[str, float]],
        *,
        should_stop: Callable[[], bool] | None = None,
    ) -> list[list[int]] | None:
        own = self._own.get(info.name)
        return None if own is None else own[0].sought_out(own[1], wanted, should_stop=should_stop)

    def to_fetch(self, info: TensorInfo) -> int:
        if info.name in self._wholes:
            return sum(part.source.to_fetch(part.info) for part in self._wholes[info.name].parts)
        source, own = self._owner(info)
        return source.to_fetch(own)

    def beat(self) -> Beat:
        """Of the rank that is behind; what is lost of any of them."""
        beats = {rank: source.beat() for rank, source in self._ranks.items()}
        ages = [beat.age for beat in beats.values() if beat.age is not None]
        lost = [f"rank {rank}: {beat.lost}" for rank, beat in beats.items() if beat.lost is not None]
        return Beat(
            min(beat.steps for beat in beats.values()),
            max(ages) if ages else None,
            any(beat.is_scaled for beat in beats.values()),
            max(beat.skipped for beat in beats.values()),
            "; ".join(lost[:4]) if lost else None,
            max(beat.held for beat in beats.values()),
            max((beat.by for beat in beats.values()), key=("steps", "passes", "nothing").index),
        )

    def changed(self) -> str | None:
        said = ((rank, source.changed()) for rank, source in self._ranks.items())
        return next((f"rank {rank}: {words}" for rank, words in said if words is not None), None)

    def courses(self) -> Courses:
        if self._courses is None:
            # Whoever asks for them has it on screen.
            self._drift = Drift(self._ranks, self._take_replicas) if len(self._ranks) > 1 else None
            found = {f"rank{rank}": source.courses() for rank, source in self._ranks.items()}
            self._courses = JobCourses({prefix: each for prefix, each in found.items() if each is not None})
        return self._courses

    def watching(self) -> JobWatching:
        if self._watching is None:
            found = {f"rank{rank}": source.watching() for rank, source in self._ranks.items()}
            self._watching = JobWatching({prefix: each for prefix, each in found.items() if each is not None})
        return self._watching

    def over_ranks(self, info: TensorInfo) -> OverRanks | None:
        if len(self._ranks) < 2 or info.kind == "gradient" or info.name not in self._own:
            return None
        name = self._owner(info)[1].name
        self._before = self._before or {rank: steps_before(source) for rank, source in self._ranks.items()}
        parts = {
            rank: Part(source, source.find(name), self._before[rank])
            for rank, source in self._ranks.items()
            if name in source
        }
        return look_over_ranks(parts, len(self._ranks), are_replicas=are_replicas(self._ranks))

    def close(self) -> None:
        if self._drift is not None:
            self._drift.close()
        for source in self._ranks.values():
            source.close()


class JobLine:
    """What the ranks of other machines are read over, by the addresses of these."""

    def __init__(self, lines: Mapping[str, Line]) -> None:
        self.address = ", ".join(lines)
        self._lines = [*lines.values()]

    @property
    def traffic(self) -> Traffic:
        each = [line.traffic for line in self._lines]
        return Traffic(sum(one.nbytes for one in each), sum(one.requests for one in each))

    def lacking(self, path: Path, begin: int, end: int) -> int:
        return max(line.lacking(path, begin, end) for line in self._lines)


class JobCourses:
    """The courses of all ranks, by the names that the job gives their parameters."""

    def __init__(self, parts: Mapping[str, Courses]) -> None:
        self._parts = parts

    def want(self, names: Sequence[str]) -> None:
        for prefix, courses in self._parts.items():
            courses.want([name.removeprefix(f"{prefix}.") for name in names if name.startswith(f"{prefix}.")])

    def publish(self) -> bool:
        return sum(courses.publish() for courses in self._parts.values()) > 0  # each of them

    def of(self, name: str) -> Course | None:
        prefix, _, own = name.partition(".")
        return self._parts[prefix].of(own) if prefix in self._parts else None


def _below(parts: Mapping[str, Source], get: Callable[[Listing], Mapping[str, str]]) -> dict[str, str]:
    return {
        f"{prefix}.{name}" if name else prefix: value
        for prefix, source in parts.items()
        for name, value in get(source.listing).items()
    }


def _about(finding: Finding, prefix: str) -> Finding:
    tensor = None if finding.tensor is None else f"{prefix}.{finding.tensor}"
    module = None if finding.module is None else f"{prefix}.{finding.module}"
    evidence = finding.evidence if tensor or module else f"{prefix}: {finding.evidence}"
    return msgspec.structs.replace(finding, tensor=tensor, module=module, evidence=evidence)
