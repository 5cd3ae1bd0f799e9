"""Looks: what is known of the earlier looks at the models of this process, so that a later one shows what has moved."""

from __future__ import annotations

import weakref
from time import localtime, strftime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tui_params.core.compare.looks import Look


class Looks:
    """The looks at one model: the last one, the one that was pinned, and the present one.

    ``keeps_values``: the values are kept too, so that the next look can compare them.
    """

    def __init__(self) -> None:
        self.keeps_values = False
        self.last: Look | None = None
        self.pin: Look | None = None
        self.present: Look | None = None

    @property
    def before(self) -> Look | None:
        """The look that the present one is compared with; None if there is none."""
        return self.pin if self.pin is not None else self.last

    @property
    def since(self) -> str:
        """With what the present is compared, in words; empty if with nothing."""
        before = self.before
        if before is None:
            return ""
        return f"since {before.at}" if before is not self.pin else f"since the pin, {before.at}"

    def begin(self) -> Look:
        """Begin to look, or look anew because the model was opened again."""
        from tui_params.core.compare.looks import Look

        self.present = Look(now())
        return self.present

    def end(self) -> None:
        """The user leaves: the present look is the last one from now on, if anything was read in it."""
        present, self.present = self.present, None
        if present is not None and present.kept:
            present.at = now() if present is not self.pin else present.at
            self.last = present

    def toggle_pin(self) -> bool:
        """Pin the present look, or take the pin away if it is on the present look already; whether one is set now."""
        self.pin = self.present if self.pin is not self.present else None
        return self.pin is not None


class LooksByModel:
    """The looks at each model, for as long as it lives; nothing of it is written to a disk."""

    def __init__(self) -> None:
        self._of_models: weakref.WeakKeyDictionary[Any, Looks] = weakref.WeakKeyDictionary()

    def of(self, model: Any) -> Looks | None:
        """The looks at a model; None for what cannot be recognised again."""
        try:
            found = self._of_models.get(model)
            if found is None:
                found = self._of_models[model] = Looks()
        except TypeError:  # it has no hash, or nothing can watch whether it lives
            return None
        return found


def now() -> str:
    """The time of day."""
    return strftime("%H:%M:%S", localtime())
