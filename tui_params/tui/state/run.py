"""Run: the checkpoints whose timeline is shown."""

from __future__ import annotations

import msgspec

from tui_params.sources.given import shown


class Run(msgspec.Struct, frozen=True):
    """The folder of a run, alone, or its checkpoints in their order; ``reader`` is the format to read them as."""

    paths: tuple[str, ...]
    reader: str | None = None

    @property
    def label(self) -> str:
        return shown(self.paths[0]) if len(self.paths) == 1 else f"{len(self.paths)} checkpoints"
