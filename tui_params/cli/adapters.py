"""Rank, alpha and scale of adapters, as ``ls`` and ``check`` print them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tui_params.cli.output import Output, hanging
from tui_params.core import text
from tui_params.core.source import Source

_LONGEST_LINE = 500


def adapter_lines(source: Source, output: Output) -> Iterator[str]:
    """A line for all adapters that have the same rank, alpha and scale."""
    from tui_params.core.health.adapters import adapters_of, summarize_adapters

    for line in summarize_adapters(adapters_of(source)):
        sentence = text.clean(line, _LONGEST_LINE)
        yield from [sentence] if output.width is None else hanging(sentence, output.width, 0)


def adapter_entries(source: Source) -> list[dict[str, Any]]:
    """Every adapter in the document of ``--json``."""
    from tui_params.core.health.adapters import adapters_of

    return [
        {
            "module": adapter.module,
            "name": adapter.name,
            "kind": adapter.kind,
            "rank": adapter.rank if adapter.rank is not None else adapter.stated_rank,
            "alpha": adapter.alpha,
            "scale": adapter.scale,
            "origin": adapter.origin,
        }
        for adapter in adapters_of(source)
    ]
