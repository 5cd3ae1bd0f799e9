"""Lists of modules, as names show them: ``layers.0``, ``layers.1`` and so on, and what each item holds."""

from __future__ import annotations

import re
from collections.abc import Iterable

import msgspec

from tui_params.core.health.packings import part_of
from tui_params.core.health.subjects import Checkpoint

_NOT_OF_MODELS = re.compile(
    r"lora|hada_|lokr_|vera_|ia3|oft_|miss_|hra_|adapter|(?:^|\.)(?:state|optim[^.]*)\.", re.IGNORECASE | re.ASCII
)
"""Adapters, which people train on the layers that they choose, and states of optimizers, numbered by parameter."""

_NUMBERS = re.compile(r"(?:^|(?<=\.))\d+(?=\.)", re.ASCII)
_MARKS = re.compile(r"(?:^|(?<=\.))#(?=\.)")
_LONGEST_NUMBER = 6


class ModuleList(msgspec.Struct, frozen=True):
    """The items of one list. ``prefix`` is its name, ``items`` are the kinds of the tensors below each number."""

    prefix: str
    items: dict[int, set[str]]

    @property
    def is_of_layers(self) -> bool:
        """Whether its items are made of modules: a row of plain Linear or Conv layers leaves numbers out."""
        return any(map(_is_of_modules, self.items.values()))

    @property
    def end(self) -> int:
        """One more than the largest number."""
        return max(self.items) + 1


def _is_of_modules(names: set[str]) -> bool:
    """Whether an item has several modules, perhaps all inside one: T5 has ``layer.#.SelfAttention`` in each block."""
    while True:
        tops = {name.partition(".")[0] for name in names if "." in name}
        if len(tops) != 1:
            return len(tops) > 1
        names = {name.partition(".")[2] for name in names if "." in name}


def lists_in(checkpoint: Checkpoint) -> dict[str, ModuleList]:
    """Every list of the whole source."""
    return lists_of([info.name for info in checkpoint.source.listing.tensors])


def lists_of(names: Iterable[str]) -> dict[str, ModuleList]:
    """Every list by its prefix. Adapters, the states of optimizers and the scales of quantised weights are left out."""
    found: dict[str, ModuleList] = {}
    below: dict[str, tuple[str, ...]] = {}
    for full in names:
        name, part = part_of(full)
        if part not in ("weight", "packed"):
            continue
        kind = _NUMBERS.sub("#", name)
        rests = below.get(kind)
        if rests is None:
            # What follows each number, the other numbers as "#".
            rests = () if _NOT_OF_MODELS.search(name) else tuple(kind[m.end() + 1 :] for m in _MARKS.finditer(kind))
            below[kind] = rests
        if not rests:
            continue
        for match, rest in zip(_NUMBERS.finditer(name), rests, strict=False):
            if match.end() - match.start() > _LONGEST_NUMBER:
                continue
            prefix = name[: max(match.start() - 1, 0)]
            modules = found.get(prefix)
            if modules is None:
                modules = found[prefix] = ModuleList(prefix, {})
            items = modules.items
            number = int(match[0])
            if number in items:
                items[number].add(rest)
            else:
                items[number] = {rest}
    return found
