"""Coverage: how much of a source has been read and cross-checked, and what may be concluded from that."""

from __future__ import annotations

import msgspec

from tui_params.core import text


class Coverage(msgspec.Struct, frozen=True):
    """How many tensors a source has, how many were read and could not be read, and what is going on."""

    tensors: int
    read: int
    unread: int
    is_sweeping: bool = False
    is_cross_checking: bool = False
    is_checked: bool = False
    """Whether everything that can be read was read, and the tensors were cross-checked."""

    @property
    def sentence(self) -> str:
        """How much was read, and what reads the rest."""
        could_not = f"; {self.unread:,} could not be read" if self.unread else ""
        read = f"{self.read:,} of {text.plural(self.tensors, 'tensor')}"
        if self.read == self.tensors:
            read = f"All {self.tensors:,} tensors" if self.tensors > 1 else "The one tensor was"
        if not self.tensors:
            return "There are no tensors here."
        if self.is_cross_checking:
            return f"{read} read whole{could_not}. Cross-checking the tensors."
        if self.is_checked:
            return f"{read} read whole and cross-checked{could_not}."
        if self.is_sweeping:
            return f"{read} read whole so far{could_not}."
        if not self.read and not self.unread:
            return "Nothing has been read yet; S reads everything."
        them = "them" if self.tensors > 1 else "it"
        how = f"S cross-checks {them}" if self.read + self.unread >= self.tensors else "S reads the rest"
        return f"{read} read whole{could_not}; {how}."

    @property
    def conclusion(self) -> tuple[str, str]:
        """The sentence for a list without findings, and its style: green only where everything was cross-checked."""
        if self.is_checked and self.tensors > self.unread:
            return "Nothing wrong was found.", "success"
        if not self.read:
            return "", "text"
        what = "the one" if self.read == 1 else "the tensors" if self.read == self.tensors else f"the {self.read:,}"
        return f"Nothing wrong was found in {what} that {'was' if self.read == 1 else 'were'} read.", "text"
