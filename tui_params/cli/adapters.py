"""Rank, alpha and scale of adapters, as ``ls`` and ``check`` print them, and their changes, as ``stats`` does."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING, Any

from tui_params.cli.output import Output, hanging
from tui_params.core import text
from tui_params.core.health.adapter_names import may_have_adapters
from tui_params.core.source import Source

if TYPE_CHECKING:
    from tui_params.core.adapters.change import Change
    from tui_params.core.health.adapters import Adapter

_LONGEST_LINE = 500
_WIDEST_MODULE = 60
_NARROWEST_MODULE = 16
_TITLES = f"{'kind':<8}  {'rank':>5}  {'alpha':>7}  {'scale':>7}  {'change':>9}  {'of weight':>9}"


def adapter_lines(source: Source, output: Output) -> Iterator[str]:
    """A line for all adapters that have the same rank, alpha and scale."""
    if not may_have_adapters(source.listing):
        return
    from tui_params.core.health.adapters import adapters_of, summarize_adapters

    for line in summarize_adapters(adapters_of(source)):
        sentence = text.clean(line, _LONGEST_LINE)
        yield from [sentence] if output.width is None else hanging(sentence, output.width, 0)


def adapter_entries(source: Source) -> list[dict[str, Any]]:
    """Every adapter in the document of ``--json``."""
    if not may_have_adapters(source.listing):
        return []
    from tui_params.core.health.adapters import adapters_of

    return [_entry(adapter) for adapter in adapters_of(source)]


def _entry(adapter: Adapter) -> dict[str, Any]:
    return {
        "module": adapter.module,
        "name": adapter.name,
        "kind": adapter.kind,
        "rank": _rank(adapter),
        "stated_rank": adapter.stated_rank,
        "alpha": adapter.alpha,
        "scale": adapter.scale,
        "origin": adapter.origin,
    }


def _rank(adapter: Adapter) -> int | None:
    return adapter.rank if adapter.rank is not None else adapter.stated_rank


def changes_in(source: Source, names: Collection[str]) -> Iterator[tuple[Adapter, Change]]:
    """The adapters that have any of these tensors, each with the change that it makes, computed one after another."""
    from tui_params.core.health.adapters import adapters_of

    adapters = adapters_of(source)
    if not adapters:
        return
    from tui_params.core.adapters.change import Changes

    changes, wanted = Changes(source), frozenset(names)
    for adapter in adapters:
        if not wanted.isdisjoint(changes.names_of(adapter)):
            yield adapter, changes.of(adapter)


def change_entry(adapter: Adapter, change: Change) -> dict[str, Any]:
    """An adapter with its change in the document of ``stats --json``."""
    return {
        **_entry(adapter),
        "norm": change.norm,
        "relative": change.relative,
        "unscaled_norm": change.unscaled,
        "bound": change.is_bound,
        "unknown": change.reason,
        "remark": change.remark,
        "base": change.base,
        "base_norm": change.base_norm,
        "base_model": change.model,
    }


def change_lines(found: Iterator[tuple[Adapter, Change]], output: Output) -> Iterator[str]:
    """A title line and a line for each adapter, as soon as its change is known; none without adapters."""
    width = _WIDEST_MODULE if output.width is None else output.width - len(_TITLES) - 4
    width = max(min(width, _WIDEST_MODULE), _NARROWEST_MODULE)
    models: dict[str, None] = {}
    is_first = True
    for adapter, change in found:
        if is_first:
            is_first = False
            yield ""
            yield output.style(f"  {'adapter of':<{width}}  {_TITLES}", "bold")
        if change.model is not None:
            models[text.clean(change.model, 200)] = None
        name = adapter.module if adapter.name in ("", "default") else f"{adapter.module} ({adapter.name})"
        rank = _rank(adapter)
        relative = "" if change.relative is None else f"{text.number(100 * change.relative, 3)} %"
        line = (
            f"  {text.shorten_name(text.name(name, _LONGEST_LINE), width):<{width}}  {text.clean(adapter.kind, 8):<8}"
        )
        line += f"  {'' if rank is None else f'{rank:,}':>5}  {text.number(adapter.alpha):>7}"
        line += f"  {text.number(adapter.scale):>7}  {text.number(change.norm):>9}  {relative:>9}"
        note = change.words if change.norm is None or change.is_bound else change.remark
        yield line if note is None else line + output.note(text.clean(note, 300), "dim", len(line))
    if models:
        yield output.style(f"  for {', '.join(models)}", "dim")
    if not is_first:
        yield output.style("  change: the Frobenius norm of what is added to the weight", "dim")
