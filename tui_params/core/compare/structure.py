"""The structure of two sources side by side: which names both have and which only one has. No value is read."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence

import msgspec

from tui_params.core.compare.hidden import HiddenNames
from tui_params.core.compare.renames import Collision, Rename, Side, parse_rename, renamed
from tui_params.core.compare.suggestions import Suggestion, choose_renames, suggest_renames
from tui_params.core.health.roles import role_of
from tui_params.core.source import Source
from tui_params.core.tensor import TensorInfo

NOT_SAVED = frozenset({"not saved in the state dict", "persistent=False"})
"""The notes of a buffer that is not in any state dict: in a live model, and in a pickled module."""


class Pair(msgspec.Struct, frozen=True, gc=False):
    """A tensor of A and its partner in B; ``name`` is its name in A."""

    a: TensorInfo
    b: TensorInfo

    @property
    def name(self) -> str:
        return self.a.name

    @property
    def has_same_shape(self) -> bool:
        return self.a.shape == self.b.shape

    @property
    def has_same_dtype(self) -> bool:
        return self.a.dtype == self.b.dtype


class Implied(msgspec.Struct, frozen=True, gc=False):
    """A tensor that only one side has but that is no difference, and the reason, one sentence."""

    name: str
    side: Side
    reason: str


class Unread(msgspec.Struct, frozen=True, gc=False):
    """A tensor that only one side lists, and why it is not known whether the other has it too, one sentence.

    Either the other side could not be read where it would be, or it is itself no more than a name that could not.
    """

    name: str
    side: Side
    reason: str


class Structure(msgspec.Struct, frozen=True):
    """Two listings with their names matched, in the order of A.

    ``only_in_a`` and ``only_in_b`` are names as their own source has them. ``unread`` tensors are in neither: nothing
    is known of them on one side. ``implied`` tensors are not there either:
    buffers that are never saved, further names of a tied tensor that both sides have, and the states of a training run
    (``Listing.states``) where the other side is a model alone. ``applied`` are the renames that were requested or
    chosen; ``suggested`` are others that would match more names, the best first. ``unused`` of the requested ones
    changed no name; ``collisions`` are the tensors whose name they give to another one as well.
    """

    pairs: tuple[Pair, ...]
    only_in_a: tuple[str, ...]
    only_in_b: tuple[str, ...]
    implied: tuple[Implied, ...]
    applied: tuple[Rename, ...]
    suggested: tuple[Suggestion, ...]
    collisions: tuple[Collision, ...] = ()
    unused: tuple[Rename, ...] = ()
    unread: tuple[Unread, ...] = ()

    @property
    def is_same(self) -> bool:
        """Whether names, shapes and element types agree."""
        return not (self.only_in_a or self.only_in_b or self.unread) and all(
            pair.has_same_shape and pair.has_same_dtype for pair in self.pairs
        )


def structure(a: Source, b: Source, *, renames: Iterable[str | Rename] = (), auto_rename: bool = False) -> Structure:
    """Match the names of two sources.

    ``renames`` are applied first, in order. With ``auto_rename`` the suggested ones are then applied to the names that
    still have no partner. Raises ValueError for an expression that is not a rename, and for a regular expression that
    takes too long.
    """
    applied = [rename if isinstance(rename, Rename) else parse_rename(rename) for rename in renames]
    infos_a = {info.name: info for info in a.listing.tensors}
    infos_b = {info.name: info for info in b.listing.tensors}
    of_a, of_b = renamed(infos_a, applied, "a"), renamed(infos_b, applied, "b")
    called_a, called_b = of_a.called, of_b.called
    collisions, unused = [*of_a.collisions, *of_b.collisions], (*of_a.unused, *of_b.unused)
    partners = {called_a[called]: name for called, name in called_b.items() if called in called_a}
    left_a, left_b = _without(called_a, called_b), _without(called_b, called_a)
    # Suggestions are about the names as they are after the renames, because they would be applied after these.
    shapes_a = {called: infos_a[name].shape for called, name in called_a.items()}
    shapes_b = {called: infos_b[name].shape for called, name in called_b.items()}
    if auto_rename:
        chosen = choose_renames(tuple(left_a), tuple(left_b), shapes_a, shapes_b)
        applied += chosen
        left_a = _renamed_again(left_a, chosen, "a", collisions)
        left_b = _renamed_again(left_b, chosen, "b", collisions)
        partners |= {left_a[called]: name for called, name in left_b.items() if called in left_a}
        left_a, left_b = _without(left_a, left_b), _without(left_b, left_a)
        shapes_a |= {called: infos_a[name].shape for called, name in left_a.items()}
        shapes_b |= {called: infos_b[name].shape for called, name in left_b.items()}
    lost = {(collision.side, collision.name) for collision in collisions}
    names_a = {*left_a.values(), *(name for side, name in lost if side == "a")}
    names_b = {*left_b.values(), *(name for side, name in lost if side == "b")}
    ordered_a = [name for name in infos_a if name in names_a]
    ordered_b = [name for name in infos_b if name in names_b]
    taken = set(partners.values())
    states_a, states_b = _states_beside(a, b), _states_beside(b, a)
    implied = [
        *_implied(ordered_a, infos_a, partners, "a", states_a),
        *_implied(ordered_b, infos_b, taken, "b", states_b),
    ]
    spared = {(item.side, item.name) for item in implied}
    hidden_a, hidden_b = HiddenNames(a.listing), HiddenNames(b.listing)
    lost_a, lost_b = ({name for of, name in lost if of == side} for side in ("a", "b"))
    unread = [
        *_unread(left_a, "a", hidden_a, hidden_b, {name for side, name in spared if side == "a"} | lost_a),
        *_unread(left_b, "b", hidden_b, hidden_a, {name for side, name in spared if side == "b"} | lost_b),
    ]
    spared |= {(item.side, item.name) for item in unread}
    only_in_a = tuple(name for name in ordered_a if ("a", name) not in spared)
    only_in_b = tuple(name for name in ordered_b if ("b", name) not in spared)
    return Structure(
        tuple(Pair(info, infos_b[partners[name]]) for name, info in infos_a.items() if name in partners),
        only_in_a,
        only_in_b,
        tuple(implied),
        tuple(applied),
        # A buffer that one side does not save may still be the partner of one that the other side has.
        suggest_renames(tuple(left_a), tuple(left_b), shapes_a, shapes_b) if only_in_a or only_in_b else (),
        tuple(collisions),
        unused,
        tuple(unread),
    )


def _unread(
    left: dict[str, str], side: Side, own: HiddenNames, other: HiddenNames, spared: Collection[str]
) -> Iterator[Unread]:
    """The tensors of one side alone, by what they are called, of which the other side may have a partner."""
    where, there = ("A", "B") if side == "a" else ("B", "A")
    for called, name in left.items():
        if name in spared:
            continue
        reason = own.entries.get(name)
        if reason is not None:
            yield Unread(name, side, f"in {where}: {reason}")
            continue
        hidden = other.why(called, name)
        if hidden is not None:
            yield Unread(name, side, f"perhaps in {there} too: {hidden}")


def _without(called: dict[str, str], others: dict[str, str]) -> dict[str, str]:
    """The names, by what they are called, that the other side has not."""
    return {new: name for new, name in called.items() if new not in others}


def _renamed_again(
    called: dict[str, str], renames: Sequence[Rename], side: Side, collisions: list[Collision]
) -> dict[str, str]:
    """The names, by what they are called after more renames; those that lost theirs are added to ``collisions``."""
    again = renamed(called, renames, side)
    collisions += [Collision(side, called[lost.name], lost.called, called[lost.taken_by]) for lost in again.collisions]
    return {new: called[old] for new, old in again.called.items()}


def _states_beside(source: Source, other: Source) -> tuple[str, ...]:
    """The states of a training run in one source, if the other is a model without any."""
    states = source.listing.states
    if not states or other.listing.states or any(role_of(info) == "optimizer" for info in other.listing.tensors):
        return ()
    return states


def _implied(
    left: Sequence[str], infos: dict[str, TensorInfo], matched: Iterable[str], side: Side, states: Sequence[str]
) -> list[Implied]:
    """The tensors of one side alone that are no difference; ``states`` are those of a run, if only this side is one."""
    other = "B" if side == "a" else "A"
    first_of = {infos[name].first_name: name for name in reversed(list(matched))}
    found = []
    for name in left:
        info = infos[name]
        twin = first_of.get(info.first_name)
        if not NOT_SAVED.isdisjoint(info.notes):
            found.append(Implied(name, side, "a buffer that is not saved (persistent=False)"))
        elif twin is not None and infos[twin].shape == info.shape and infos[twin].dtype == info.dtype:
            found.append(Implied(name, side, f"tied to {twin}, which both have"))
        elif name.partition(".")[0] in states:
            found.append(Implied(name, side, f"a state of the training run, and {other} holds no such states"))
    return found
