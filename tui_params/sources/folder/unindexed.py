"""Tensor files side by side in a folder that has no index."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import msgspec

from tui_params.core.dequantized import renamed
from tui_params.core.findings import Finding
from tui_params.core.source import Hidden, Listing, Source
from tui_params.core.tensor import TensorInfo
from tui_params.core.text import clean, plural
from tui_params.errors import OpenError
from tui_params.sources.folder.announced import compare_counts
from tui_params.sources.folder.json_files import config_findings
from tui_params.sources.folder.merged import MergedSource
from tui_params.sources.folder.open_each import OpenFile, open_each
from tui_params.sources.folder.shard_index import (
    adapters_in,
    add_unopened,
    describe_format,
    findings_in,
    folder_label,
    merge_metadata,
    read_stated,
)
from tui_params.sources.folder.side_models import NUMBERED, describe_models, group_files, models_in


def list_unindexed(
    folder: Path,
    files: list[str],
    beside: list[str],
    found: Iterable[Finding],
    folders: Iterable[str],
    open_file: OpenFile,
    lacking: Iterable[Hidden] = (),
) -> MergedSource:
    """The tensors of all ``files``. If they are several models, every name is preceded by the stem of its file.

    ``beside`` and ``folders`` are files and subfolders that are only mentioned; ``found`` are findings made before, and
    ``lacking`` what is known to be missing.
    Raises OpenError if none of the files can be opened.
    """
    parts, findings, reasons = _open_all(folder, files, open_file)
    findings[:0] = found
    if not parts:
        first = next(iter(reasons.values()))
        if len(files) == 1:
            raise OpenError(first)
        raise OpenError(f"none of the {len(files):,} tensor files of {folder_label(folder)} can be opened: {first}")
    missing = [*_missing_numbers(files), *lacking]
    findings += [Finding("error", "missing-shard", None, item.reason) for item in missing]
    prefixes = group_files(parts)
    tensors, modules, gradients, originals = _combine(parts, prefixes)
    metadata = merge_metadata(parts)
    stated = read_stated(folder, tensors)
    metadata |= stated
    add_unopened(metadata, beside)
    findings += config_findings(folder)
    findings += describe_models(parts, prefixes)
    findings += compare_counts(parts)
    findings += findings_in(parts, prefixes)
    restored = (renamed(p.listing.dequantized, f"{prefixes[n]}." if prefixes[n] else "") for n, p in parts.items())
    is_ordered = len(parts) == 1 and all(part.listing.is_ordered for part in parts.values())
    listing = Listing(
        describe_format(parts, len(files)).replace("shards", "files"),
        tuple(tensors.values()),
        metadata,
        modules,
        gradients,
        tuple(findings),
        is_ordered,
        (*beside, *folders),
        models=models_in(parts, prefixes),
        adapters=adapters_in(parts, folder, prefixes),
        stated=stated,
        unlisted=next((part.listing.unlisted for part in parts.values() if part.listing.unlisted), None),
        hidden=(
            *missing,
            *(Hidden("", name, reason) for name, reason in reasons.items()),
            *_hidden_in(parts, prefixes),
        ),
        dequantized={name: ways for each in restored for name, ways in each.items()},
    )
    return MergedSource(folder_label(folder), listing, parts, originals, folder, tuple(reasons))


def _open_all(
    folder: Path, files: list[str], open_file: OpenFile
) -> tuple[dict[str, Source], list[Finding], dict[str, str]]:
    parts: dict[str, Source] = {}
    findings: list[Finding] = []
    reasons: dict[str, str] = {}
    for name, part in open_each(folder, files, open_file):
        if isinstance(part, str):
            reasons[name] = part
            findings.append(Finding("error", "bad-shard", None, part, file=name))
        else:
            parts[name] = part
    return parts, findings, reasons


def _combine(
    parts: Mapping[str, Source], prefixes: Mapping[str, str]
) -> tuple[dict[str, TensorInfo], dict[str, str], dict[str, TensorInfo], dict[str, TensorInfo]]:
    """Tensors, modules and gradients of all parts, and the original of each tensor that had to be renamed."""
    tensors: dict[str, TensorInfo] = {}
    modules: dict[str, str] = {}
    gradients: dict[str, TensorInfo] = {}
    originals: dict[str, TensorInfo] = {}
    for file, part in parts.items():
        stem = f"{prefixes[file]}." if prefixes[file] else ""
        modules |= {f"{stem}{path}".rstrip("."): name for path, name in part.listing.modules.items()}
        for infos, kept in (
            (((info.name, info) for info in part.listing.tensors), tensors),
            (part.listing.gradients.items(), gradients),
        ):
            for key, info in infos:
                shown = info
                if stem:
                    tied_to = None if info.tied_to is None else stem + info.tied_to
                    shown = msgspec.structs.replace(info, name=stem + info.name, tied_to=tied_to)
                    originals[shown.name] = info
                kept[stem + key] = shown
    return tensors, modules, gradients, originals


def _hidden_in(parts: Mapping[str, Source], prefixes: Mapping[str, str]) -> Iterator[Hidden]:
    """What is hidden in the files that could be opened, under the names that these have here."""
    for file, part in parts.items():
        for item in part.listing.hidden:
            yield Hidden(f"{prefixes[file]}.{item.below}".strip("."), file, item.reason)


def _missing_numbers(files: list[str]) -> list[Hidden]:
    """What is missing of numbered sets, such as ``model-00002-of-00003``."""
    found: dict[tuple[str, str, str], set[int]] = {}
    for name in files:
        match = NUMBERED.match(name)
        if match is not None:
            prefix, number, total, suffix = match.groups()
            found.setdefault((prefix, total, suffix), set()).add(int(number))
    hidden = []
    for (prefix, total, suffix), numbers in found.items():
        # Most writers count from 1, a few from 0.
        count = int(total)
        missing = count - len({number for number in numbers if 0 <= number <= count})
        if missing > 0:
            first = min(set(range(0 if 0 in numbers else 1, count + 1)) - numbers)
            evidence = (
                f"{plural(missing, 'shard')} of {count:,} of {clean(prefix, 80)}-*{clean(suffix, 40)}"
                f" {'is' if missing == 1 else 'are'} missing, the first is number {first:,}"
            )
            hidden.append(Hidden("", f"{prefix}-*{suffix}", evidence))
    return hidden
