"""``tui_params.compare``: what changed between two of anything that can be opened."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import ExitStack
from typing import TYPE_CHECKING

from tui_params.api.opening import is_live_module, open_source
from tui_params.core.compare.comparer import Comparer, Comparison
from tui_params.core.compare.renames import Rename
from tui_params.core.compare.verdict import Progress, Tolerance, Verdict
from tui_params.core.kernels.float_mode import with_subnormals
from tui_params.core.source import Source

if TYPE_CHECKING:
    from tui_params.api.opening import Optimizer, Target
    from tui_params.core.team import Team


@with_subnormals
def compare(
    a: Target,
    b: Target,
    *,
    optimizer: Optimizer | None = None,
    rtol: float = 0.0,
    atol: float = 0.0,
    renames: Iterable[str | Rename] = (),
    auto_rename: bool = False,
    ignore_dtype: bool = False,
    should_stop: Callable[[], bool] | None = None,
    progress: Callable[[Progress], None] | None = None,
    threads: int | None = None,
    team: Team | None = None,
) -> Comparison:
    """What changed between ``a`` and ``b``: paths, modules, state dicts or sources, in any combination.

    Names, shapes and element types are compared first, then values. Tensors with the same bytes are identical;
    otherwise an element changed if |b - a| > atol + rtol |a| (NaN equals NaN, 0.0 equals -0.0), whatever the element
    types. Another element type is a difference by itself, unless ``ignore_dtype``. ``renames`` are applied to names
    before they are matched (``OLD=NEW``, see ``parse_rename``), ``auto_rename`` applies those that are suggested.
    Where a side is damaged or not whole (``Comparison.doubt``), the state is never "same".

    Tensors on one side alone, with another shape, or with the same values in another order are looked for on the other
    side: ``Comparison.elsewhere`` has what was found, and what was not tried. Where one side is an adapter,
    ``Comparison.adapted`` says how far it moves the weights of the other.

    ``optimizer`` is the optimizer of the one module among ``a`` and ``b``; its states are compared too. If both are
    modules, open them by ``open_source(model, optimizer=...)`` and compare these sources.

    ``should_stop`` and ``progress`` are called several times a second on the caller's thread. ``threads`` is how many
    read at the same time (None: as many as there are processors, at most 4); ``team`` are other processes that read too
    (``core.team``). A Source that is passed in stays open.
    Raises OpenError, TypeError (also for an optimizer where not exactly one side is a module), ValueError (a negative
    tolerance, a text that is not a rename), StoppedError.
    """
    tolerance = Tolerance(rtol, atol, ignore_dtype)
    with ExitStack() as stack:
        owner = None if optimizer is None else _owner(a, b)
        source_a, source_b = (_opened(target, optimizer if target is owner else None, stack) for target in (a, b))
        comparer = Comparer(source_a, source_b, tolerance, renames=renames, auto_rename=auto_rename)
        verdicts: list[Verdict] = []
        comparer.run(verdicts.append, should_stop=should_stop, progress=progress, threads=threads, team=team)
        comparer.verify(verdicts, should_stop)
        elsewhere = comparer.find_elsewhere(verdicts, should_stop=should_stop)
        tied = comparer.find_tied_heads(should_stop=should_stop)
        from tui_params.core.compare.across import find_adapted

        return comparer.comparison(verdicts, elsewhere, tied, find_adapted(source_a, source_b, should_stop))


def _owner(a: Target, b: Target) -> Target:
    """The one of both that an optimizer can belong to. Raises TypeError."""
    modules = [target for target in (a, b) if is_live_module(target)]
    if len(modules) == 1:
        return modules[0]
    if not modules:
        raise TypeError("optimizer= is for a torch.nn.Module only, and neither a nor b is one")
    raise TypeError(
        "optimizer= belongs to one torch.nn.Module, and a and b are both one: "
        "open each by open_source(model, optimizer=...) and compare these sources"
    )


def _opened(target: Target, optimizer: Optimizer | None, stack: ExitStack) -> Source:
    """The source of ``target``; ``stack`` closes it, unless it was open before."""
    source = open_source(target, optimizer=optimizer)
    if not isinstance(target, Source):
        stack.callback(source.close)
    return source
