"""``compare``: what changed between two of anything that can be opened."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import ExitStack
from typing import TYPE_CHECKING

from tui_params.api.opening import open_source
from tui_params.core.compare.comparer import Comparison, Progress
from tui_params.core.compare.comparer import compare as compare_sources
from tui_params.core.compare.renames import Rename
from tui_params.core.kernels.float_mode import with_subnormals
from tui_params.core.source import Source

if TYPE_CHECKING:
    from tui_params.api.opening import Target


@with_subnormals
def compare(
    a: Target,
    b: Target,
    *,
    rtol: float = 0.0,
    atol: float = 0.0,
    renames: Iterable[str | Rename] = (),
    auto_rename: bool = False,
    ignore_dtype: bool = False,
    should_stop: Callable[[], bool] | None = None,
    progress: Callable[[Progress], None] | None = None,
    threads: int | None = None,
) -> Comparison:
    """What changed between ``a`` and ``b``: paths, modules, state dicts or sources, in any combination.

    Names, shapes and element types first, then values: the same bytes are identical; else an element changed if
    |b - a| > atol + rtol |a| (NaN equals NaN, 0.0 equals -0.0), whatever the element types. Another element type is a
    difference even so, unless ``ignore_dtype``. A Source that is passed in stays open. Raises OpenError, TypeError,
    ValueError, StoppedError.
    """
    with ExitStack() as stack:
        sources = []
        for target in (a, b):
            source = open_source(target)
            if not isinstance(target, Source):
                stack.callback(source.close)
            sources.append(source)
        return compare_sources(
            *sources,
            rtol=rtol,
            atol=atol,
            renames=renames,
            auto_rename=auto_rename,
            ignore_dtype=ignore_dtype,
            should_stop=should_stop,
            progress=progress,
            threads=threads,
        )
