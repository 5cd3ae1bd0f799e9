"""What a viewer may ask of a relay, a closed list, and what a relay answers: plain data within bounds."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from tui_params.core.beat import Beat
from tui_params.core.findings import MAX_INDICES, Finding
from tui_params.core.health.sought import What
from tui_params.core.tensor import MAX_LISTED_NDIM
from tui_params.core.watching import Wish
from tui_params.live.attached.replies import Number
from tui_params.live.attached.trained import StepFigures

VERSION = 3
"""Of the questions and answers. A viewer that knows another one says so and leaves."""

MOST_FOLLOWED = 1_000
"""Parameters whose courses are sent: those on a screen."""

MOST_WATCHED = 200_000

MOST_WORKED_OUT = 128
"""Tensors of which the figures are asked for at once."""

MOST_SOUGHT = 16
"""Kinds of values that one question is about."""

MOST_SECONDS = 10.0

Name = Annotated[str, msgspec.Meta(max_length=1 << 16)]
Names = Annotated[list[Name], msgspec.Meta(max_length=MOST_WATCHED)]


class Axis(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """An axis of a window: ``core.window.Axis``."""

    start: Number
    step: Annotated[int, msgspec.Meta(ge=-(2**62), le=2**62)]
    length: Number
    is_index: bool


class Asked(msgspec.Struct, frozen=True, tag_field="ask", forbid_unknown_fields=True):
    """A question; ``id`` is repeated in each part of its answer."""

    id: Number


class Find(Asked, frozen=True, tag="find"):
    """Which models are served there."""


class Enter(Asked, frozen=True, tag="enter"):
    """Have a process serve its models that does not do so itself."""

    pid: Annotated[int, msgspec.Meta(ge=1, le=2**31 - 1)]


class Open(Asked, frozen=True, tag="open"):
    """Open the model with this number (``Serving.number``): the parts of its list, and as which source it is open."""

    number: Name


class OfSource(Asked, frozen=True):
    """A question about a source that was opened."""

    source: Number


class OfTensor(OfSource, frozen=True):
    """A question about a tensor or, by the name of its parameter, a gradient."""

    name: Name
    is_gradient: bool


class ReadWindow(OfTensor, frozen=True, tag="window"):
    """The values at a window, row-major, in the type that they are decoded to."""

    axes: Annotated[list[Axis], msgspec.Meta(max_length=MAX_LISTED_NDIM)]


class ReadBytes(OfTensor, frozen=True, tag="bytes"):
    """The bytes of the elements ``start:stop``."""

    start: Number
    stop: Number


class Look(OfTensor, frozen=True, tag="look"):
    """Figures after each step for some seconds: ``TrainedSource.looks``."""

    seconds: Annotated[float, msgspec.Meta(ge=0, le=MOST_SECONDS)]
    is_only_bits: bool


class WorkOut(OfTensor, frozen=True, tag="work out"):
    """The statistics of all its elements: ``core.reading.worked_out``, and meanwhile how far that has come."""

    has_summary: bool


class Wanted(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A tensor or, by the name of its parameter, a gradient."""

    name: Name
    is_gradient: bool


class WorkOutAll(OfSource, frozen=True, tag="work out all"):
    """The figures of each of these, in their order, a part of the answer for each: Worked, and a record as bytes."""

    tensors: Annotated[list[Wanted], msgspec.Meta(max_length=MOST_WORKED_OUT)]


class Seek(OfTensor, frozen=True, tag="seek"):
    """The first elements of each of these kinds (``core.health.sought``), and meanwhile that it goes on."""

    wanted: Annotated[list[tuple[What, float]], msgspec.Meta(min_length=1, max_length=MOST_SOUGHT)]


class Stop(Asked, frozen=True, tag="stop"):
    """Nobody waits for the answer to the question with that number any more."""

    question: Number


class Follow(OfSource, frozen=True, tag="follow"):
    """Send the courses of these parameters with the pulse, in place of others."""

    names: Annotated[list[Name], msgspec.Meta(max_length=MOST_FOLLOWED)]


class Watch(OfSource, frozen=True, tag="watch"):
    """Watch these, or everything, in place of what was watched before; ``begin`` begins the names of files."""

    names: Names | None
    wish: Wish
    begin: Name


class Unwatch(OfSource, frozen=True, tag="unwatch"):
    """Watch nothing."""


class Release(OfSource, frozen=True, tag="release"):
    """Let the training go on."""


class Close(OfSource, frozen=True, tag="close"):
    """Close a source."""


Question = (
    Find
    | Enter
    | Open
    | ReadWindow
    | ReadBytes
    | Look
    | WorkOut
    | WorkOutAll
    | Seek
    | Stop
    | Follow
    | Watch
    | Unwatch
    | Release
    | Close
)


class Said(msgspec.Struct, frozen=True, tag_field="say", omit_defaults=True):
    """What a relay says."""


class Greeting(Said, frozen=True, tag="hello"):
    """The first frame of a relay. ``release`` is the version of tui-params there."""

    version: int
    release: str
    byteorder: str


class Answer(Said, frozen=True, tag="answer"):
    """A part of an answer. ``error`` is one sentence; ``is_changed`` says that the source has changed meanwhile."""

    id: Number
    body: dict[str, Any] = {}
    is_last: bool = False
    error: str = ""
    is_changed: bool = False


class Dot(msgspec.Struct, frozen=True, array_like=True, omit_defaults=True):
    """A point of a course, with few bytes: ``core.course.Point``."""

    step: Number
    value: float | None
    word: str = ""
    is_scaled: bool = False


class Stretch(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is new of the course of a parameter."""

    norms: list[Dot] = []
    updates: list[Dot] = []
    reason: str = ""


class Watched(msgspec.Struct, frozen=True, omit_defaults=True):
    """How a watch stands, and what it has seen since the last pulse."""

    words: str = ""
    standing: str = ""
    events: list[Finding] = []


class Pulse(Said, frozen=True, tag="pulse"):
    """What a relay says of a source without being asked. ``courses`` and ``watched`` are there if something is new."""

    source: Number
    beat: Beat
    courses: dict[str, Stretch] = {}
    watched: Watched | None = None


class Entry(msgspec.Struct, frozen=True):
    """A model that is served: ``live.attached.finding.Serving``, whose socket is known there by ``number``."""

    number: str
    pid: Number
    name: str
    model: str
    since: float
    steps: Number
    age: float | None
    rank: int | None
    world_size: int | None
    command: str
    reason: str | None
    held: Number


class Entries(msgspec.Struct, frozen=True):
    """The answer to Find and to Enter."""

    serving: list[Entry]


class Opened(msgspec.Struct, frozen=True):
    """The last part of the answer to Open."""

    source: Number
    label: str
    beat: Beat


class AtStep(msgspec.Struct, frozen=True):
    """The step that the bytes of an answer are of."""

    step: Number


class Done(msgspec.Struct, frozen=True):
    """How many elements have been read for what is worked out."""

    done: Number


class Worked(msgspec.Struct, frozen=True, omit_defaults=True):
    """What came of the tensor at this place of a WorkOutAll: its record (``is_found``), or why there is none.

    Without either, how many of its elements have been read by now.
    """

    at: Number
    done: Number = 0
    is_found: bool = False
    error: str = ""
    is_changed: bool = False


class Places(msgspec.Struct, frozen=True):
    """The answer to Seek: of each kind the numbers of its first elements, in row-major order."""

    places: list[Annotated[list[Number], msgspec.Meta(max_length=MAX_INDICES)]]


class Looks(msgspec.Struct, frozen=True):
    """The answer to Look: steps, and the figures after each of them."""

    looks: list[tuple[Number, StepFigures]]


QUESTIONS: msgspec.json.Decoder[Question] = msgspec.json.Decoder(Question)
SAID: msgspec.json.Decoder[Greeting | Answer | Pulse] = msgspec.json.Decoder(Greeting | Answer | Pulse)
