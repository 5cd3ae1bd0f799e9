"""The parts of an object of some class: its attributes, its list items, its arguments and its dict items.

A dataclass that is a dict too, such as transformers' ModelOutput, has each of its values three times: as an attribute,
as an argument and as an item. What is one and the same value is a part once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from tui_params.sources.inert_pickle.values import Obj
from tui_params.sources.torch_save.leaves import LEAVES

MOST_FIELDS = 100
"""Attributes and items up to which the same values are looked for; dataclasses have fewer."""

Fields = Iterable[tuple[Any, Any]]


def parts_of(value: Obj) -> Iterator[tuple[Any, Fields]]:
    """Each container of an object, and its values by the keys that go into their names.

    The container is None for a state that is a value itself. Nothing is copied: many objects may share a large one.
    """
    state, pairs = value.state, value.pairs
    attributes: dict[Any, Any] = {}
    for part in state if type(state) is tuple and len(state) == 2 else (state,):
        if type(part) is dict:
            if len(part) <= MOST_FIELDS:
                attributes |= part
            yield part, part.items()
        elif type(part) not in LEAVES:
            yield None, [("state", part)]
    if value.items is not None:
        yield value.items, enumerate(value.items)
    kept = pairs if pairs is not None and len(pairs) <= MOST_FIELDS else []
    items = [pair for pair in kept if type(pair) in (list, tuple) and len(pair) == 2]
    if type(value.args) is tuple:
        known = {id(item) for item in attributes.values()} | {id(item) for _, item in items}
        # The object's own text shows the arguments that are plain values.
        rich = ((index, item) for index, item in enumerate(value.args) if type(item) not in LEAVES)
        yield value.args, ((index, item) for index, item in rich if id(item) not in known)
    if pairs is not None:
        every = (pair for pair in pairs if type(pair) in (list, tuple) and len(pair) == 2)
        yield pairs, ((key, item) for key, item in every if not _is_attribute(attributes, key, item))


def _is_attribute(attributes: dict[Any, Any], key: Any, item: Any) -> bool:
    return type(key) is str and key in attributes and attributes[key] is item
