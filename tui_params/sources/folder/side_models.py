"""Several models in one folder without an index: which files are one model, and what is said of those that are not."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence

from tui_params.core.findings import Finding
from tui_params.core.source import Source
from tui_params.core.tensor import TensorInfo
from tui_params.core.text import clean, plural

NUMBERED = re.compile(r"^(.*)-(\d{1,6})-of-(\d{1,6})(\..*)$")
"""A shard of a numbered set, such as ``model-00002-of-00003.safetensors``."""

# The names under which one whole model is saved: by transformers, diffusers and PEFT, and by Meta and Mistral.
_WHOLE = frozenset({"model", "pytorch_model", "diffusion_pytorch_model", "adapter_model", "consolidated"})
# Slices for tensor parallelism, and the files of single ranks.
_SLICE = re.compile(r"^consolidated\.\d+$", re.IGNORECASE)
_OF_RANK = re.compile(r"(^|_)rank_?\d+", re.IGNORECASE)
_COPY = re.compile(r"^(.*)_\d{1,4}$")
"""A further model of accelerate: ``model_1`` beside ``model``."""

_SHOWN = 4


def group_files(parts: Mapping[str, Source]) -> dict[str, str]:
    """The prefix that the names of each file get, by file: empty unless the files hold more than one model.

    Numbered shards of one set are one model. Where two of them have a tensor of the same name, each file is by itself.
    """
    names = {file: [info.name for info in part.listing.tensors] for file, part in parts.items()}
    stems = {file: _stem(file, parts) for file in parts}
    sets: dict[str, list[str]] = {}
    for file in parts:
        match = NUMBERED.match(file)
        sets.setdefault(match[1] if match is not None else stems[file], []).append(file)
    if any(_has_clash(names, files) for files in sets.values()):
        return stems
    further = any((match := _COPY.match(stem)) and match[1] in _WHOLE and match[1] in sets for stem in sets)
    if len(sets) > 1 and (further or _has_clash(names, list(parts)) or sum(stem in _WHOLE for stem in sets) > 1):
        return {file: stem for stem, files in sets.items() for file in files}
    return dict.fromkeys(parts, "")


def models_in(parts: Mapping[str, Source], prefixes: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """The files of each model by its name, if there are several; slices of one model, or of ranks, are one."""
    stems, pieces = list(dict.fromkeys(prefixes.values())), _pieces_of_ranks(parts, prefixes)
    slices = [stem for stem in stems if stem in pieces or _is_slice(stem)]
    groups = {stem: [stem] for stem in stems if stem not in slices}
    if slices:
        groups[_listed(slices)] = slices
    if len(groups) < 2:
        return {}
    return {
        name: tuple(file for file, prefix in prefixes.items() if prefix in members) for name, members in groups.items()
    }


def describe_models(parts: Mapping[str, Source], prefixes: Mapping[str, str]) -> list[Finding]:
    """A remark about files that hold more than one model, or slices of one."""
    models: dict[str, list[TensorInfo]] = {}
    for file, part in parts.items():
        models.setdefault(prefixes[file], []).extend(part.listing.tensors)
    if len(models) < 2:
        return []
    pieces = _pieces_of_ranks(parts, prefixes)
    slices = [stem for stem in models if stem in pieces or _is_slice(stem)]
    found = []
    kind = "slice of one model" if all(_SLICE.search(stem) for stem in slices) else "file of a single rank"
    kinds = "slices of one model" if all(_SLICE.search(stem) for stem in slices) else "files of single ranks"
    if len(slices) > 1:
        evidence = (
            f"{_listed(slices)} are {kinds} and do not say which part of a tensor each has: names that they share are"
            " shown under each file, and the shapes may be those of the parts"
        )
        found.append(Finding("info", "model-slices", None, evidence))
    whole = [stem for stem in models if stem not in slices]
    if len(whole) > 1 or (whole and slices):
        shown = [*whole, *slices[:1]]
        counts = ", ".join(f"{clean(stem, 80)} {_count(models[stem])}" for stem in shown[:_SHOWN])
        shapes = [Counter(info.shape for info in models[stem] if info.tied_to is None) for stem in whole]
        is_known = all(stem.partition(".")[0] in _WHOLE for stem in whole)
        is_twice = len(whole) == len(models) == 2 and shapes[0] == shapes[1] and is_known
        what = "are models of their own" if len(whole) > 1 else "is a model of its own"
        if slices:
            what += f" beside {clean(slices[0], 80)}, {'one of the' if len(slices) > 1 else 'a'} "
            what += kinds if len(slices) > 1 else kind
        what = "seem to hold the same weights twice" if is_twice else what
        evidence = f"{_listed(whole)} {what}: each is counted by itself ({counts}), under the name of its file"
        found.append(Finding("info", "several-models", None, evidence))
    return found


def _is_slice(stem: str) -> bool:
    return bool(_SLICE.search(stem) or _OF_RANK.search(stem))


def _pieces_of_ranks(parts: Mapping[str, Source], prefixes: Mapping[str, str]) -> set[str]:
    """The prefixes of files that say themselves that they hold what one rank wrote."""
    return {
        prefixes[file]
        for file, part in parts.items()
        if any(finding.rule == "local-shapes" for finding in part.listing.findings)
    }


def _count(tensors: Sequence[TensorInfo]) -> str:
    numel = sum(info.numel for info in tensors if info.tied_to is None)
    return f"{plural(len(tensors), 'tensor')} of {plural(numel, 'element')}"


def _listed(stems: Sequence[str]) -> str:
    shown = [clean(stem, 80) for stem in stems[:_SHOWN]]
    if len(stems) > _SHOWN:
        return f"{', '.join(shown)} and {len(stems) - _SHOWN:,} more"
    return f"{', '.join(shown[:-1])} and {shown[-1]}" if len(shown) > 1 else shown[0]


def _has_clash(names: Mapping[str, list[str]], files: Sequence[str]) -> bool:
    found = [name for file in files for name in names[file]]
    return len(files) > 1 and len(set(found)) < len(found)


def _stem(file: str, files: Mapping[str, Source]) -> str:
    stem = file.rpartition(".")[0]
    return file if sum(other.rpartition(".")[0] == stem for other in files) > 1 else stem
