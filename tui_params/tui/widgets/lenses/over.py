"""Over: what is laid over a histogram: the same kind in another layer, a tensor chosen by name, or a normal."""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING

import msgspec

from tui_params.core import text
from tui_params.core.source import Source
from tui_params.core.tensor import TensorInfo
from tui_params.errors import UnknownTensorError
from tui_params.tui.desk.tensor_desk import Answer, TensorDesk
from tui_params.tui.state.layers import same_in_layers
from tui_params.tui.widgets.lenses.counts_asked import CountsAsked
from tui_params.tui.widgets.lenses.histogram_plot import Outline
from tui_params.tui.widgets.lenses.lens import Seen

if TYPE_CHECKING:
    from tui_params.core.numbers.distribution import Distribution, Span


class Layer(msgspec.Struct, frozen=True, eq=False):
    """What is laid over now: a normal, another distribution, or nothing (yet)."""

    is_normal: bool = False
    other: Distribution | None = None

    def outline(self, found: Distribution, span: Span, columns: int) -> Outline | None:
        """Its counts in the bins, for as many elements as ``found`` has."""
        from tui_params.core.numbers.distribution import normal_shares

        finite = found.figures.finite
        if self.is_normal:
            mean, std = found.figures.mean, found.figures.std
            if mean is None or std is None:
                return None
            is_log = span.scale == "log"
            edges = span.edges(columns)
            shares = normal_shares(edges, mean, std, is_magnitude=is_log)
            below = normal_shares(
                (0.0 if is_log else -1.7976931348623157e308, edges[0]), mean, std, is_magnitude=is_log
            )
            return Outline(tuple([share * finite for share in shares]), below[0] * finite)
        if self.other is None or not self.other.figures.finite:
            return None
        counts = self.other.histogram(span, columns)
        factor = finite / self.other.figures.finite
        return Outline(tuple([count * factor for count in counts.counts]), counts.below * factor)


_NOTHING = Layer()
_NORMAL = Layer(is_normal=True)


class Over:
    """The choice of what is laid over, and the read that it needs."""

    def __init__(self, desk: TensorDesk, slot: str) -> None:
        self._counts = CountsAsked(desk, slot)
        self._is_normal = False
        self._info: TensorInfo | None = None
        self._version: Hashable = None
        self._layer = _NOTHING

    @property
    def is_on(self) -> bool:
        return self._is_normal or self._info is not None

    @property
    def is_settled(self) -> bool:
        return self._info is None or self._counts.is_settled

    @property
    def reason(self) -> str | None:
        """Why the tensor that was chosen cannot be laid over."""
        return self._counts.reason if self._info is not None else None

    @property
    def layer(self) -> Layer:
        if self._is_normal:
            return _NORMAL
        other = self._counts.found(self._info.name, self._version) if self._info is not None else None
        if other is None:
            return _NOTHING
        if self._layer.other is not other:
            self._layer = Layer(other=other)
        return self._layer

    def words(self, found: Distribution) -> tuple[str, str]:
        """What is laid over, and figures of it, for the line below."""
        if self._is_normal:
            mean, std = text.number(found.figures.mean), text.number(found.figures.std)
            return "a normal of the same mean and std", f"mean {mean}   std {std}"
        if self._info is None:
            return "", ""
        name = text.name(self._info.name)
        other = self._counts.found(self._info.name, self._version)
        if other is None:
            return name, self._counts.toll or "reading"
        figures = other.figures
        facts = [f"mean {text.number(figures.mean)}", f"std {text.number(figures.std)}"]
        if figures.finite != found.figures.finite:
            facts.append(f"{text.numel(figures.finite)} drawn as {text.numel(found.figures.finite)}")
        if figures.is_sampled:
            facts.append("a sample")
        return name, "   ".join(facts)

    def turn(self, seen: Seen, source: Source) -> None:
        """The next of: the same kind in the next layer (of the last, in the one before), a normal, nothing."""
        if self._is_normal:
            self.leave()
            return
        names = same_in_layers(seen.info.name, (info.name for info in source.listing.tensors))
        at = names.index(seen.info.name) if seen.info.name in names else -1
        if self._info is not None or at < 0:
            self.leave()
            self._is_normal = True
            return
        self.lay(source.find(names[at + 1] if at + 1 < len(names) else names[at - 1]), seen.version)

    def lay(self, info: TensorInfo, version: Hashable) -> None:
        """Lay a tensor over, which is read if it is not known."""
        self.leave()
        self._info, self._version = info, version
        self._counts.want(info, version, is_measured=True)

    def keep(self, version: Hashable) -> None:
        """Read what was given up when another lens came up, or what may have other values now."""
        if self._info is not None:
            self._version = version
            self._counts.want(self._info, version, is_measured=True)

    def leave(self) -> None:
        """Lay nothing over."""
        self.stop()
        self._is_normal, self._info = False, None

    def stop(self) -> None:
        self._counts.stop()

    def take(self, answer: Answer) -> bool:
        """Take an answer; False if it was not awaited here."""
        return self._counts.take(answer)

    def full(self, name: str, source: Source) -> str:
        """The name that was typed, or the only one that has it as a part. Raises UnknownTensorError."""
        name = name.strip()
        if name in source:
            return name
        found = [info.name for info in source.listing.tensors if name in info.name]
        if len(found) == 1:
            return found[0]
        some = f"{len(found):,} names have {text.clean(name, 60)!r} in them" if found else "no name has that in it"
        raise UnknownTensorError(f"{some}: type more of one" if found else some)

    def why_not(self, name: str, source: Source) -> str | None:
        """Why a name cannot be laid over, one sentence; None if it can."""
        try:
            info = source.find(self.full(name, source))
        except UnknownTensorError as error:
            return str(error)
        return info.unreadable or (None if info.numel else "it has no elements")
