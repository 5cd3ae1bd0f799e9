"""JobWatching: the watches of all ranks of a job as one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from tui_params.core.findings import Finding
from tui_params.core.watching import Watching, Wish
from tui_params.live.watching.condition import parse_condition


class JobWatching:
    """Each rank is watched by itself; ``parts`` are by what precedes the names of its tensors: ``rank0``.

    A rank that stands makes the others wait as soon as they need something of it.
    """

    def __init__(self, parts: Mapping[str, Watching]) -> None:
        self._parts = parts
        self._seen: list[Finding] = []
        self._counts = dict.fromkeys(parts, 0)
        self.wish = Wish()

    def start(self, names: Sequence[str] | None, wish: Wish) -> None:
        for word in wish.conditions.split():
            parse_condition(word)
        for prefix, watching in self._parts.items():
            own = [name.removeprefix(f"{prefix}.") for name in names or () if name.startswith(f"{prefix}.")]
            if names is None or own:
                watching.start(None if names is None else own, wish)
                self.wish = watching.wish
            else:
                watching.stop()

    def stop(self) -> None:
        self.wish = Wish()
        for watching in self._parts.values():
            watching.stop()

    @property
    def words(self) -> str:
        return _together({prefix: watching.words for prefix, watching in self._parts.items()})

    @property
    def standing(self) -> str:
        return _together({prefix: watching.standing for prefix, watching in self._parts.items()})

    def release(self) -> None:
        for watching in self._parts.values():
            watching.release()

    def events(self) -> tuple[Finding, ...]:
        for prefix, watching in self._parts.items():
            found = watching.events()
            self._seen += [_below(prefix, event) for event in found[self._counts[prefix] :]]
            self._counts[prefix] = len(found)
        return tuple(self._seen)


def _below(prefix: str, event: Finding) -> Finding:
    return msgspec.structs.replace(event, tensor=f"{prefix}.{event.tensor}")


def _together(said: Mapping[str, str]) -> str:
    """What the ranks say, once if all say the same."""
    words = {prefix: sentence for prefix, sentence in said.items() if sentence}
    if len(said) > 1 and len(words) == len(said) and len({*words.values()}) == 1:
        return f"each rank: {next(iter(words.values()))}"
    return "; ".join(f"{prefix}: {sentence}" for prefix, sentence in words.items())
