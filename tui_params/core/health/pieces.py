"""Whether a source is only a piece of a checkpoint, so that what is not in it may be elsewhere."""

from __future__ import annotations

import re

from tui_params.core.health.subjects import Checkpoint

_NUMBERED = re.compile(r"(.*)-(\d{1,6})-of-(\d{1,6})\.[\w.]+", re.ASCII)
"""``model-00002-of-00004.safetensors``."""

_OF_PIECES = frozenset({"missing-shard", "bad-shard", "local-shapes", "missing-rank", "flat-layout"})
"""Findings of the readers: some tensors were not seen, or this is what one rank wrote."""


def is_piece(checkpoint: Checkpoint) -> bool:
    """Whether shards of a numbered set are not open, such as the others when one shard is opened by its path."""
    listing = checkpoint.source.listing
    if any(finding.rule in _OF_PIECES for finding in listing.findings):
        return True
    sets: dict[tuple[str, str], set[str]] = {}
    for file in {info.file for info in listing.tensors if info.file is not None}:
        match = _NUMBERED.fullmatch(file)
        if match is not None:
            sets.setdefault((match[1], match[3]), set()).add(match[2])
    return any(len(numbers) < int(total) for (_, total), numbers in sets.items())
