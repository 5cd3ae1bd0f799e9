"""How ``watch`` tells what it sees: a line for each event, or a line of JSON for all that happens."""

from __future__ import annotations

import sys
from typing import Protocol

import msgspec

from tui_params.cli.output import Output, complain, encode_json
from tui_params.core import text
from tui_params.live.watching.event_text import event_words
from tui_params.live.watching.judge import Event
from tui_params.live.watching.watch import Choice, Held, Look, Watch

MOST_LINES = 20
"""Events of one step that have a line of their own; in JSON all have."""

_NAMES = 3


class Served(msgspec.Struct, frozen=True):
    """The process that is watched."""

    pid: int
    name: str
    step: int


class Report(Protocol):
    """Where it is told."""

    def start(self, served: Served, choice: Choice, conditions: list[str], is_whole: bool) -> None: ...

    def look(self, look: Look, saved: str | None, not_saved: str | None) -> None: ...

    def held(self, held: Held, event_step: int) -> None: ...

    def released(self, step: int, by: str) -> None: ...

    def end(self, reason: str, events: int, watch: Watch) -> None: ...


def event_entry(event: Event) -> dict[str, object]:
    """An event as the lines of JSON have it."""
    figures = event.figures
    return {
        "step": event.step,
        "tensor": event.info.name,
        "kind": event.info.kind,
        "condition": event.condition.text,
        "numel": event.info.numel,
        "nan": figures.nan,
        "pos_inf": figures.pos_inf,
        "neg_inf": figures.neg_inf,
        "norm": figures.norm,
        "median": event.median,
        "since": event.since,
        "scaled": event.is_scaled,
        "skipped": event.is_skipped,
    }


class JsonReport:
    """Lines of JSON on stdout, each flushed."""

    def start(self, served: Served, choice: Choice, conditions: list[str], is_whole: bool) -> None:
        self._line(
            "watching",
            {
                "pid": served.pid,
                "name": served.name,
                "step": served.step,
                "conditions": conditions,
                "tensors": [info.name for info, _ in choice.watched],
                "every_step": is_whole,
                "left_out": choice.left_out,
            },
        )

    def look(self, look: Look, saved: str | None, not_saved: str | None) -> None:
        for event in look.events:
            self._line("event", {**event_entry(event), "saved": saved, "not_saved": not_saved})

    def held(self, held: Held, event_step: int) -> None:
        self._line("held", {"step": held.step, "event_step": event_step, "seconds": held.left})

    def released(self, step: int, by: str) -> None:
        self._line("released", {"step": step, "by": by})

    def end(self, reason: str, events: int, watch: Watch) -> None:
        self._line(
            "end",
            {
                "reason": reason,
                "events": events,
                "first_step": watch.first_step or None,
                "last_step": watch.last_step or None,
                "looked": watch.looked,
                "missed": watch.missed,
                "unlooked": watch.unlooked(),
            },
        )

    def _line(self, what: str, facts: dict[str, object]) -> None:
        sys.stdout.write(encode_json({what: facts}) + "\n")
        sys.stdout.flush()


class TextReport:
    """A line for each event on stdout; all else goes to stderr."""

    def __init__(self) -> None:
        self._out = Output()

    def start(self, served: Served, choice: Choice, conditions: list[str], is_whole: bool) -> None:
        kinds = [info.kind for info, _ in choice.watched]
        counted = [text.plural(kinds.count(kind), kind) for kind in sorted(set(kinds), reverse=True)]
        turns = "" if is_whole else "; they take turns, because they are too large to be copied at each step"
        complain(
            f"watching {', '.join(counted)} of {served.name} ({served.pid}) from step {served.step + 1:,} on for"
            f" {', '.join(conditions)}{turns}"
        )
        for reason, names in _by_reason(choice.left_out).items():
            complain(f"not watched: {_some(names)}: {reason}")

    def look(self, look: Look, saved: str | None, not_saved: str | None) -> None:
        for event in look.events[:MOST_LINES]:
            words = event_words(event)
            line = f"step {event.step:,}  {text.name(event.info.name)}  "
            self._out.line(line + self._out.style(words, "yellow" if event.condition.what == "still" else "bold red"))
        more = len(look.events) - MOST_LINES
        if more > 0:
            self._out.line(f"step {look.step:,}  and {text.plural(more, 'event')} more")
        if saved is not None:
            complain(f"saved as {saved}")
        if not_saved is not None:
            complain(f"not saved: {not_saved}")

    def held(self, held: Held, event_step: int) -> None:
        late = held.step - event_step
        where = "the step of the event" if not late else f"{text.plural(late, 'step')} after that of the event"
        complain(
            f"held at the end of step {held.step:,}, {where}, for at most {text.duration(held.left)}:"
            " enter lets it go on"
        )

    def released(self, step: int, by: str) -> None:
        why = {"limit": "; the time is over", "watch": "; it stood for nothing that is waited for"}.get(by, "")
        complain(f"going on after step {step:,}{why}")

    def end(self, reason: str, events: int, watch: Watch) -> None:
        missed = f"; {watch.missed:,} were overwritten before they were read" if watch.missed else ""
        span = f" ({watch.first_step:,} to {watch.last_step:,})" if watch.looked else ""
        complain(
            f"{reason}: {text.plural(events, 'event')}; looked at {watch.looked:,} of"
            f" {text.plural(watch.seen, 'step')}{span}{missed}"
        )
        for why, names in _by_reason(watch.unlooked()).items():
            complain(f"never looked at: {_some(names)}: {why}")


def _by_reason(reasons: dict[str, str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, reason in reasons.items():
        found.setdefault(reason, []).append(name)
    return found


def _some(names: list[str]) -> str:
    shown = ", ".join(text.name(name) for name in names[:_NAMES])
    return shown if len(names) <= _NAMES else f"{shown} and {len(names) - _NAMES:,} more"
