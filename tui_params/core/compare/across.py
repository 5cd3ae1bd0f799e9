"""What the comparison of two sources says of each tensor, as the Change that a filter asks and a screen shows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from tui_params.core.adapters.change import Changes
from tui_params.core.compare.adapted import Adapted
from tui_params.core.compare.both import BothSources
from tui_params.core.compare.elsewhere import Relation
from tui_params.core.compare.moved import Change, State
from tui_params.core.compare.verdict import Verdict
from tui_params.core.health.adapters import adapters_of, has_adapters
from tui_params.core.source import Source
from tui_params.core.text import clean, shape

if TYPE_CHECKING:
    from tui_params.core.adapters.change import Change as AdapterChange


def laid_out(both: BothSources) -> dict[str, Change]:
    """What the structure alone says: the tensors of one side, and those of which that is not certain."""
    laid, in_b = both.comparer.structure, both.names_in_b()
    found = {name: Change("only_a", about="only A has it") for name in laid.only_in_a}
    found |= {in_b[name]: Change("only_b", about="only B has it") for name in laid.only_in_b}
    for item in laid.implied:
        where = "A" if item.side == "a" else "B"
        name = item.name if item.side == "a" else in_b[item.name]
        found[name] = Change("implied", about=f"only in {where}, which is no difference: {item.reason}")
    for untold in laid.unread:
        name = untold.name if untold.side == "a" else in_b[untold.name]
        found[name] = Change("unread", about=untold.reason)
    return found


def change_of_verdict(verdict: Verdict) -> Change:
    """What came of comparing a tensor with its partner."""
    change = verdict.change
    if verdict.state == "identical":
        return Change("same")
    if change is None:
        return Change("unread", about=verdict.reason or "it was not compared")
    found = change.difference
    if verdict.state == "equal":
        return Change("equal", relative=0.0, difference=found)
    about = ""
    state: State = "moved"
    if change.change == "shape":
        state, about = "shape", f"the shape is {shape(change.shape_a)} in A and {shape(change.shape_b)} in B"
    elif change.change == "dtype":
        state, about = "dtype", f"the type is {change.dtype_a} in A and {change.dtype_b} in B"
        about += f"; the values were not compared: {change.reason}" if change.reason else ""
    return Change(state, relative=found.relative_l2 if found is not None else None, difference=found, about=about)


def is_of_adapter(both: BothSources) -> bool:
    """Whether one side is an adapter, and the other the weights that it may be for."""
    return has_adapters(both.a.listing) is not has_adapters(both.b.listing)


def adapted(both: BothSources, should_stop: Callable[[], bool]) -> Iterator[tuple[str, Change]]:
    """How the adapter on one side moves each weight of the other: ``||B A||`` times its scale / ``||W||``.

    Reads factors and weights. A weight is untouched only if it is certain for which weight every adapter is. Raises
    StoppedError.
    """
    changes = Changes(both)
    side = "A" if has_adapters(both.a.listing) else "B"
    moved: dict[str, Change] = {}
    is_certain = True
    for adapter in adapters_of(both):
        found = changes.of(adapter, should_stop)
        for name in changes.names_of(adapter):
            yield name, Change("implied", about=f"a factor of the adapter in {side}: {adapter.kind}, {adapter.words}")
        if found.base is None:
            is_certain = False
            continue
        change = _by_adapter(found, f"{adapter.kind} in {side}, {adapter.words}")
        if found.base in moved:  # several adapters of one weight: their sum is not known from their norms
            change = Change("unread", about=f"several adapters in {side} move it; {moved[found.base].about}")
        moved[found.base] = change
        yield found.base, change
    alone = both.comparer.structure.only_in_b if side == "A" else both.comparer.structure.only_in_a
    in_b = both.names_in_b()
    reason = f"the adapter in {side} has nothing for it"
    unsure = f"of some adapters in {side} it is not known for which weight they are"
    for name in alone:
        listed = in_b[name] if side == "A" else name
        if listed not in moved:
            yield (
                listed,
                Change("adapted", relative=0.0, about=reason) if is_certain else Change("unread", about=unsure),
            )


def find_adapted(a: Source, b: Source, should_stop: Callable[[], bool] | None = None) -> tuple[Adapted, ...]:
    """The same for weights alone, by their own names, in the order of their source; empty if no side is an adapter.

    Neither source is closed. Raises StoppedError.
    """
    if has_adapters(a.listing) is has_adapters(b.listing):
        return ()
    both = BothSources(a, b)
    own = {listed: info.name for listed, info in both.in_b.items()}
    found = {
        own.get(name, name): Adapted(own.get(name, name), change.relative, change.about)
        for name, change in adapted(both, should_stop or (lambda: False))
        if change.state != "implied"
    }
    weights = b if has_adapters(a.listing) else a
    return tuple([found[info.name] for info in weights.listing.tensors if info.name in found])


def _by_adapter(change: AdapterChange, words: str) -> Change:
    """The change that an adapter makes. An upper bound is no number to sort by."""
    if change.norm is None or not change.base_norm:
        return Change("unread", about=f"{words}: {change.words}")
    relative = None if change.is_bound and change.norm else change.relative
    return Change("adapted", relative=relative, about=f"{words}: {change.words}")


def related(
    both: BothSources, relations: Iterable[Relation], known: Mapping[str, Change]
) -> Iterator[tuple[str, Change]]:
    """What is to be said of the tensors whose values are on the other side under another name or in another form."""
    in_b = both.names_in_b()
    for found in relations:
        for name, other, where in ((found.a, found.b, "B"), (in_b.get(found.b, ""), found.a, "A")):
            change = known.get(name)
            if change is not None and change.state in ("only_a", "only_b", "shape", "moved"):
                words = f"its values are in {where} as {clean(other, 120)}{_how(found)}"
                about = f"{change.about}; {words}" if change.about else words
                yield name, Change(change.state, relative=change.relative, difference=change.difference, about=about)


def _how(found: Relation) -> str:
    words = {
        "same": "",
        "reshaped": ", in another shape",
        "transposed": ", transposed",
        "rows": ", with its rows in another order",
        "columns": ", with its columns in another order",
        "part": ", as a part of it" if found.slice_b else ", which is a part of it",
    }[found.how]
    place = f": {found.slice_a or found.slice_b}" if found.slice_a or found.slice_b else ""
    return f"{words}{place}{' transposed' if found.is_transposed else ''}"
