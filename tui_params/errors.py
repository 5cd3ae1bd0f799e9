"""Every error that tui-params raises on purpose.

    TuiParamsError
     ├── OpenError              nothing can be shown of this source (the command line exits 3)
     │    └── UnknownFormatError    no reader recognises these bytes
     ├── ReadError              this tensor's values cannot be read; the rest can
     │    └── SourceChangedError    the file was replaced, truncated or removed after it was opened
     ├── StoppedError           the caller cancelled the work; never shown
     │    └── ShareReadError        this process has read its share for another, which tells the result; never shown
     ├── TeamError              several processes cannot read together (the command line exits 3)
     ├── UnknownTensorError     no tensor of that name (also a KeyError)
     ├── SliceError             a slice expression that does not parse or does not fit the shape
     ├── WriteError             a file that the user asked for was not written
     │    └── OccupiedError         there is a file of that name, and nothing was said about replacing it
     ├── EditError              an edit of a live model was refused: nothing was written
     ├── QueryError             a filter term that does not parse
     ├── ExploreError           the explorer cannot run here; says what to do instead
     └── ServeError             the model of this process cannot be served to viewers

The message of each is one sentence for the user: plain words, numbers, no traceback, no markup.
"""

from __future__ import annotations


class TuiParamsError(Exception):
    """Base of everything below; ``str(error)`` is one sentence for the user."""


class OpenError(TuiParamsError):
    """Nothing can be shown of this source."""


class UnknownFormatError(OpenError):
    """No reader recognises these bytes."""


class ReadError(TuiParamsError):
    """The values of one tensor cannot be read."""


class SourceChangedError(ReadError):
    """The file on the disk is no longer the one that was opened."""


class StoppedError(TuiParamsError):
    """The caller cancelled the work."""


class ShareReadError(StoppedError):
    """This process has read its share for another one, which tells what came of it."""


class TeamError(TuiParamsError):
    """The processes that should read together do not see the same, or cannot find each other."""


class UnknownTensorError(TuiParamsError, KeyError):
    """There is no tensor of that name."""

    def __str__(self) -> str:
        # KeyError's own __str__ is the repr of the argument.
        return str(self.args[0]) if self.args else ""


class SliceError(TuiParamsError):
    """A slice expression that does not parse, or does not fit the tensor's shape."""


class WriteError(TuiParamsError):
    """A file that the user asked for was not written."""


class OccupiedError(WriteError):
    """There is a file of that name."""


class EditError(TuiParamsError):
    """An edit of a live model that was refused; nothing was written."""


class QueryError(TuiParamsError):
    """A filter term that does not parse. It is ``text[start:stop]`` of the filter."""

    def __init__(self, message: str, start: int, stop: int) -> None:
        super().__init__(message)
        self.start = start
        self.stop = stop


class ExploreError(TuiParamsError):
    """The explorer cannot take over the terminal here."""


class ServeError(TuiParamsError):
    """The model of this process cannot be served to viewers."""
