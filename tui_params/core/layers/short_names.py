"""Short names for columns that stay unique, however narrow the columns are."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence

from tui_params.core.text import abbreviate, shorten

_ENDS = {"weight": "", "bias": ".b", "weight_scale_inv": ".s", "weight_scale": ".s"}
_WORDS = {"layernorm": "norm", "attention": "attn", "input": "in", "experts": "exp", "embeddings": "emb"}
_JOINTS = re.compile(r"([._])")


def short_names(names: Sequence[str], room: int) -> tuple[str, ...]:
    """Each of some distinct dotted names in at most ``room`` characters (6 or more), no two of them alike.

    As much of the end is left as tells it from the others: ``self_attn.q_proj.weight`` is ``q_proj``, its bias
    ``q_proj.b``. What is too long loses vowels, then its first words become letters (``pa_norm``), or its middle goes.
    Where that is not enough, a number at the end tells names apart.
    """
    ends = _distinct_ends(names)
    used: set[str] = set()
    found = [""] * len(names)
    # The short ones first, so that what fits keeps its name.
    for at in sorted(range(len(names)), key=lambda at: len(ends[at])):
        found[at] = next(words for words in _candidates(ends[at], at, room) if words and words not in used)
        used.add(found[at])
    return tuple(found)


def fitting_names(names: Sequence[str], room: int) -> Sequence[str]:
    """Distinct dotted names as they are where they fit, else abbreviated, else as ``short_names``: never two alike."""
    fitting = [abbreviate(name, room) for name in names]
    return fitting if len(set(fitting)) == len(fitting) else short_names(names, room)


def _distinct_ends(names: Sequence[str]) -> list[str]:
    """Of each name the fewest last segments that no other name ends with; ``weight`` is left out."""
    spoken = [_spoken(name) for name in names]
    segments = [name.split(".") for name in spoken]
    counts: Counter[str] = Counter()
    for parts in segments:
        counts.update(".".join(parts[start:]) for start in range(max(0, len(parts) - 8), len(parts)))
    ends = []
    for parts in segments:
        starts = range(len(parts) - 1, max(-1, len(parts) - 9), -1)
        least = len(parts) - (2 if parts[-1] in ("b", "s") and len(parts) > 1 else 1)
        tails = (".".join(parts[start:]) for start in starts if start <= least)
        ends.append(next((tail for tail in tails if counts[tail] == 1), ".".join(parts)))
    return ends


def _spoken(name: str) -> str:
    head, _, last = name.rpartition(".")
    return f"{head}{_ENDS[last]}" if head and last in _ENDS else name


def _candidates(name: str, number: int, room: int) -> Iterator[str]:
    """What fits, the most readable first; the last ones never run out."""
    parts = [_WORDS.get(part, part) for part in _JOINTS.split(name)]
    known = "".join(parts)
    bare = "".join(map(_without_vowels, parts))
    letters = "".join(part[:1] for part in parts[:-1:2])
    for words in (
        name,
        known,
        bare,
        f"{letters}{''.join(parts[-2:])}",
        f"{letters}{_without_vowels(''.join(parts[-2:]))}",
    ):
        if len(words) <= room:
            yield words
    yield shorten(known, room)
    yield shorten(bare, room)
    yield f"{name[: room - 1]}…"
    yield f"…{name[len(name) - room + 1 :]}"
    while True:
        mark = f"~{number}"
        yield f"{name[: max(0, room - len(mark))]}{mark}"[-room:]
        number += 1


def _without_vowels(word: str) -> str:
    return word[:1] + "".join(letter for letter in word[1:] if letter not in "aeiou")
