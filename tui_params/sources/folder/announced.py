"""What the files of a numbered set say of the whole: how many tensors all of them have together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from tui_params.core.findings import Finding
from tui_params.core.source import Source
from tui_params.core.text import clean, plural
from tui_params.sources.folder.side_models import NUMBERED

_COUNT = "split.tensors.count"
"""The metadata of each split of a GGUF model: llama.cpp refuses the model if the splits have another number."""


def compare_counts(parts: Mapping[str, Source]) -> Iterator[Finding]:
    """An error for each whole set of splits that has other than the number of tensors that its files announce."""
    sets: dict[tuple[str, int], list[str]] = {}
    for name in parts:
        match = NUMBERED.match(name)
        if match is not None and match[4] == ".gguf":
            sets.setdefault((match[1], int(match[3])), []).append(name)
    for (stem, total), names in sets.items():
        if len(names) != total:
            continue  # that some are missing is said
        said = {name: parts[name].listing.metadata.get(_COUNT) for name in names}
        numbers = {int(text): name for name, text in said.items() if text is not None and text.isdecimal()}
        found = sum(len(parts[name].listing.tensors) for name in names)
        if any(parts[name].listing.unlisted is not None for name in names) or not numbers.keys() - {found}:
            continue
        number = min(numbers.keys() - {found})
        announced = f"{clean(numbers[number], 80)} announces {plural(number, 'tensor')} in all splits ({_COUNT})"
        evidence = f"{announced}, and the {total:,} files of {clean(stem, 80)} have {found:,}"
        yield Finding("error", "bad-metadata", None, evidence, file=numbers[number])
