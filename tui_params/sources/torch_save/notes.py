"""Notes: the values of a pickle that are no tensors, as short texts by their names, up to a limit."""

from __future__ import annotations

from typing import Any

from tui_params.core.text import are, plural
from tui_params.sources.inert_pickle.values import render

MAX_METADATA = 2_000


class Notes:
    """The texts, and how many more values there were."""

    def __init__(self) -> None:
        self.texts: dict[str, str] = {}
        self._hidden = 0

    def add(self, name: str, value: Any) -> None:
        if len(self.texts) >= MAX_METADATA:
            self._hidden += 1
            return
        while name in self.texts:
            name += "~"
        self.texts[name] = render(value)

    def whole(self) -> dict[str, str]:
        """The texts, and one about those that were left out."""
        if not self._hidden:
            return self.texts
        more = f"{plural(self._hidden, 'more value')} {are(self._hidden)} not shown"
        return {**self.texts, "…": more}
