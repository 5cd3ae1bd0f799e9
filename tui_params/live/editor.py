"""LiveEditor: edits of a model in this process, proposed with statistics, applied all or none, undone byte for byte."""

from __future__ import annotations

import re
from collections.abc import Callable
from threading import Lock
from typing import TYPE_CHECKING, Any, NamedTuple

from tui_params.core.edits import Brief, Change, Edit, Proposal, Seal, number_of
from tui_params.core.tensor import TensorInfo
from tui_params.core.window import Window, make_window, parse_window
from tui_params.errors import EditError, StoppedError, UnknownTensorError
from tui_params.live.npy import read_npy

if TYPE_CHECKING:
    from tui_params.core.numbers.summary import Accumulator
    from tui_params.live.inside.arithmetic import Recipe
    from tui_params.live.source import ProbeSource

_PARAMETRIZED = re.compile(r"(?:(.*)\.)?parametrizations\.([^.]+)\.original\d*")
_REPARAMETRIZED = re.compile(r"(.*)_(?:orig|g|v)")


class _Applied(NamedTuple):
    change: Change
    has_step: bool


class LiveEditor:
    """The editor of a model; ``attach`` gives it the source that is open now, after each opening."""

    def __init__(self) -> None:
        from tui_params.live.inside.editor import Editor

        self._inside = Editor()
        self._lock = Lock()  # held while the editor works, so that a source is not replaced meanwhile
        self._source: ProbeSource | None = None
        self._applied: list[_Applied] = []

    def attach(self, source: ProbeSource) -> None:
        with self._lock:
            self._source = source
            self._inside.attach(source.probe)

    def close(self) -> None:
        """Wait for what is being written, then edit nothing more and let go of what was kept for undoing."""
        from tui_params.live.inside.editor import Editor

        with self._lock:
            self._source, self._inside = None, Editor()
            self._applied = [entry._replace(has_step=False) for entry in self._applied]

    @property
    def changes(self) -> tuple[Change, ...]:
        return tuple(entry.change for entry in self._applied)

    @property
    def undoable(self) -> int:
        return sum(entry.has_step for entry in self._applied)

    def propose(self, edit: Edit, should_stop: Callable[[], bool] = lambda: False) -> Proposal:
        with self._lock:
            return self._propose(edit, should_stop)

    def apply(self, proposals: tuple[Proposal, ...]) -> tuple[Change, ...]:
        with self._lock:
            return self._apply(proposals)

    def undo(self) -> Change:
        with self._lock:
            return self._undo()

    def _propose(self, edit: Edit, should_stop: Callable[[], bool]) -> Proposal:
        import numpy as np

        from tui_params.core.numbers.summary import Accumulator
        from tui_params.live.inside.description import ProbeError
        from tui_params.live.inside.editor import new_digest

        source = self._opened()
        info = self._find(edit.name)
        window = parse_window(edit.expression, info.shape)
        handle, axes = source.handle(info), source.axes(window)
        inside = self._inside
        try:
            why_not = inside.why_not(handle)
            if why_not is not None:
                raise EditError(f"{info.name} cannot be edited: {why_not}")
            recipe, remarks = self._recipe(edit, info, window)
            version = inside.version(handle)
            before, after = (Accumulator(info.dtype, source.engine.current) for _ in range(2))
            digests = new_digest(), new_digest()
            changed = 0
            for pair in inside.blocks(handle, axes, recipe):
                if should_stop():
                    raise StoppedError
                raw = [np.frombuffer(each, np.uint8) for each in pair]
                for accumulator, digest, each in zip((before, after), digests, raw, strict=True):
                    accumulator.add(each)
                    digest.update(each)
                rows = raw[0].reshape(-1, info.dtype.itemsize) != raw[1].reshape(-1, info.dtype.itemsize)
                changed += int(np.count_nonzero(rows.any(axis=1)))
            also = inside.sharing(handle, axes)
        except ProbeError as error:
            raise EditError(str(error)) from error
        briefs = [_brief(accumulator, window.numel) for accumulator in (before, after)]
        return Proposal(
            edit,
            make_window(window.axes),
            window.numel,
            changed,
            briefs[0],
            briefs[1],
            Seal(version, digests[0].hexdigest(), digests[1].hexdigest()),
            info.first_name,
            also,
            (*remarks, *self._remarks(info, recipe, briefs[1])),
        )

    def _apply(self, proposals: tuple[Proposal, ...]) -> tuple[Change, ...]:
        from tui_params.live.inside.description import ProbeError
        from tui_params.live.inside.editor import Planned

        source = self._opened()
        plans = []
        for proposal in proposals:
            info = self._find(proposal.edit.name)
            window = parse_window(proposal.edit.expression, info.shape)
            recipe, _ = self._recipe(proposal.edit, info, window)
            seal = proposal.seal
            axes = source.axes(window)
            plans.append(Planned(source.handle(info), axes, recipe, seal.version, seal.before, seal.after))
        try:
            dropped = self._inside.apply(plans)
        except ProbeError as error:
            raise EditError(str(error)) from error
        made = tuple(proposal.change for proposal in proposals)
        self._applied += [_Applied(change, True) for change in made]
        for place, entry in enumerate(self._applied):
            if dropped and entry.has_step:
                self._applied[place] = entry._replace(has_step=False)
                dropped -= 1
        return made

    def _undo(self) -> Change:
        from tui_params.live.inside.description import ProbeError

        place = max((place for place, entry in enumerate(self._applied) if entry.has_step), default=None)
        if place is None:
            raise EditError("there is nothing to undo")
        entry = self._applied[place]
        # Whatever comes of it, the step is used up.
        self._applied[place] = entry._replace(has_step=False)
        try:
            self._inside.undo(self._opened().handle(self._find(entry.change.name)))
        except ProbeError as error:
            raise EditError(str(error)) from error
        del self._applied[place]
        return entry.change

    def _opened(self) -> ProbeSource:
        if self._source is None:
            raise EditError("the model is not open yet")
        return self._source

    def _find(self, name: str) -> TensorInfo:
        try:
            info = self._opened().find(name)
        except UnknownTensorError as error:
            raise EditError(str(error)) from error
        if info.unreadable is not None:
            raise EditError(f"{name} cannot be edited: {info.unreadable}")
        return info

    def _recipe(self, edit: Edit, info: TensorInfo, window: Window) -> tuple[Recipe, list[str]]:
        """The edit as the model's process takes it, and what to say of it."""
        from tui_params.live.inside.arithmetic import Recipe

        if edit.operation == "zero":
            return Recipe("zero"), []
        if edit.operation != "fill":
            return Recipe(edit.operation, number_of(edit.operand, info.dtype)), []
        name = edit.operand.strip()
        if not name:
            raise EditError("the name of a tensor or of a .npy file is missing")
        flipped = tuple(number for number, axis in enumerate(window.axes) if axis.step < 0)
        source = self._opened()
        if name not in source:
            return self._from_file(name, info, window, flipped)
        other = self._find(name)
        if other.dtype.is_packed:
            raise EditError(f"{name} has two values in a byte, which are not taken apart here")
        if other.shape == info.shape:
            axes, flipped = source.axes(window), ()
        elif other.shape == window.shape:
            axes = tuple((0, 1, size) for size in other.shape)
        else:
            raise EditError(f"{name} has the shape {list(other.shape)}, and the slice {list(window.shape)}")
        same = other.dtype == info.dtype
        said = [] if same else [f"Converted from {other.dtype.short} to {info.dtype.short}, rounded to the nearest."]
        return Recipe("fill", handle=source.handle(other), axes=axes, flipped=flipped), said

    def _from_file(
        self, path: str, info: TensorInfo, window: Window, flipped: tuple[int, ...]
    ) -> tuple[Recipe, list[str]]:
        from tui_params.live.inside.arithmetic import Recipe
        from tui_params.live.inside.editor import MOST_NBYTES

        array = read_npy(path, MOST_NBYTES)
        if array.shape != window.shape:
            raise EditError(f"the array in the file has the shape {list(array.shape)}, the slice {list(window.shape)}")
        dtype, said = array.dtype, []
        is_foreign = (info.dtype.numpy or "").startswith("ml_dtypes.")
        if is_foreign and dtype == f"uint{info.dtype.bits}":
            dtype, said = info.dtype.name, [f"Its {array.dtype} are taken as the bits of {info.dtype.short}."]
        elif dtype != info.dtype.name:
            said = [f"Converted from {array.dtype} to {info.dtype.short}, rounded to the nearest."]
        return Recipe("fill", data=array.data, dtype=dtype, flipped=flipped), said

    def _remarks(self, info: TensorInfo, recipe: Recipe, after: Brief) -> list[str]:
        said = []
        number: Any = recipe.number
        is_real = isinstance(number, float) and not info.dtype.is_complex
        if recipe.operation == "set" and is_real and after.min is not None and after.min != number:
            said.append(f"It is stored as {after.min!r}, the nearest value of {info.dtype.short}.")
        computed = computed_from(info.name, self._opened())
        if computed is not None:
            said.append(f"It is the original from which {computed} is computed.")
        ranks = self._inside.ranks()
        if ranks > 1:
            said.append(f"Only in this process: the other {ranks - 1} ranks keep their values.")
        return said


def computed_from(name: str, source: ProbeSource) -> str | None:
    """The parameter that a module computes from a tensor of this name, if the names show one.

    torch.nn.utils.parametrize keeps an ``original``; weight_norm, spectral_norm and pruning of old keep ``_g`` and
    ``_v``, or ``_orig``.
    """
    found = _PARAMETRIZED.fullmatch(name)
    if found is not None:
        return ".".join(filter(None, found.groups()))
    found = _REPARAMETRIZED.fullmatch(name)
    if found is None or found.group(1) in source:
        return None
    base = found.group(1)
    return base if name.endswith("_orig") or {f"{base}_g", f"{base}_v"} <= set(source.names()) else None


def _brief(accumulator: Accumulator, numel: int) -> Brief:
    return Brief.of(accumulator.summary().figures(numel))
