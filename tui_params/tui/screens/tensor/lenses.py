"""The lenses of the tensor screen: another one is a file in ``widgets/lenses`` and a line of this table."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from functools import cached_property
from importlib import import_module
from typing import TYPE_CHECKING

import msgspec

from tui_params.tui import keys
from tui_params.tui.keys import Key

if TYPE_CHECKING:
    from tui_params.tui.widgets.lenses.lens import Lens


class LensEntry(msgspec.Struct, frozen=True, dict=True):
    """One lens: its slot, its title, a sentence for the help, and where its class is (module:class).

    The digit of its place in the table chooses it.
    """

    slot: str
    title: str
    about: str
    path: str

    @cached_property
    def kind(self) -> type[Lens]:
        """The class, which is imported when it is first asked for."""
        module, _, name = self.path.partition(":")
        kind: type[Lens] = getattr(import_module(module), name)
        return kind


LENSES: tuple[LensEntry, ...] = (
    LensEntry("cells", "Values", "The numbers themselves", "tui_params.tui.widgets.lenses.values:Values"),
    LensEntry("heat", "Heat map", "The whole plane as a picture", "tui_params.tui.widgets.lenses.heat_map:HeatMap"),
    LensEntry(
        "channels",
        "Channels",
        "Rows and columns, the worst first",
        "tui_params.tui.widgets.lenses.channels:ChannelsLens",
    ),
    LensEntry(
        "histogram",
        "Histogram",
        "How the values are spread, at any zoom; what a cast would do",
        "tui_params.tui.widgets.lenses.histogram:HistogramLens",
    ),
    LensEntry(
        "spectrum",
        "Spectrum",
        "The singular values of the plane",
        "tui_params.tui.widgets.lenses.spectrum:Spectrum",
    ),
)


def lens_keys() -> tuple[Key, ...]:
    """A key for each lens: its number."""
    return tuple(
        Key(f"tensor.lens_{entry.slot}", str(number), f"lens('{entry.slot}')", entry.title, entry.about, str(number))
        for number, entry in enumerate(LENSES, 1)
    )


def hints_of(lens: Lens | None, *, has_planes: bool) -> list[Key]:
    """The keys that matter: those of the lens, then those of the screen that can do something here."""
    own = {key.id: key for key in lens.KEYS} if lens is not None else {}
    of_lens = [own[name] for name in lens.HINTS] if lens is not None else []
    wanted = ["tensor.help", "tensor.back", "tensor.slice", "tensor.index", "tensor.next_layer", "tensor.next_lens"]
    if has_planes:
        wanted.insert(2, "tensor.next_plane")
    of_screen = {key.id: key for key in keys.TENSOR}
    of_screen_too = [of_screen[name] for name in wanted]
    return [*of_lens[:3], *of_screen_too[:2], *of_lens[3:], *of_screen_too[2:]]


class KeyIds(Collection[str]):
    """Every id to which a user can give keys; the lenses are imported only if one is sought that none else has."""

    def __contains__(self, name: object) -> bool:
        return name in keys.IDS or name in self._of_lenses

    def __iter__(self) -> Iterator[str]:
        yield from keys.IDS
        yield from self._of_lenses

    def __len__(self) -> int:
        return len(keys.IDS) + len(self._of_lenses)

    @cached_property
    def _of_lenses(self) -> frozenset[str]:
        own = (key.id for entry in LENSES for key in entry.kind.KEYS)
        return frozenset((*own, *(key.id for key in lens_keys())))
