"""A terminal that is none, for tests of what is printed to one."""

from __future__ import annotations

import re
from io import StringIO


class Terminal(StringIO):
    """A stdout that says that it is a terminal."""

    def isatty(self) -> bool:
        return True

    def plain(self) -> str:
        """What was written, without styles."""
        return re.sub("\x1b\\[[0-9;]*m", "", self.getvalue())
