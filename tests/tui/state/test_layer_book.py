"""The book of kinds and layers: what it takes, when it shows it, and that it invents nothing."""

from __future__ import annotations

import numpy as np

from tests.factories_memory import MemorySource
from tui_params.core.compare.moved import Change, Sums
from tui_params.core.figures import Figures
from tui_params.core.findings import Finding
from tui_params.core.layers.known import ABSENT, LOST, READ, UNREAD
from tui_params.core.layers.table import table_of
from tui_params.core.reading.tensor_reading import summarize
from tui_params.core.tensor import describe
from tui_params.core.tree.tree import Tree
from tui_params.tui.state.layer_book import Asked, LayerBook
from tui_params.tui.state.marks import Marks

NAMES = [f"h.{layer}.{kind}" for layer in range(6) for kind in "qk"]


def made(
    since: str = "", *, has_gradients: bool = False
) -> tuple[LayerBook, dict[str, Figures], dict[str, Change], Marks]:
    """A book of twelve tensors, and the places where it finds what is known."""
    source = MemorySource({name: np.full(4, at + 1.0, np.float32) for at, name in enumerate(NAMES)})
    tensors, tree, marks = source.listing.tensors, Tree(source.listing), Marks()
    figures: dict[str, Figures] = {}
    changes: dict[str, Change] = {}
    dtype = tensors[0].dtype
    gradients = {"h.0.q": describe("h.0.q.grad", (4,), dtype)} if has_gradients else {}
    book = LayerBook(table_of(tensors))
    book.fill(Asked(figures.get, {"h.5.k"}.__contains__, changes.get, gradients, since, marks, tree))
    book.look()
    return book, figures, changes, marks


def figures_of(*values: float) -> Figures:
    source = MemorySource({"w": np.array(values, np.float32)})
    return summarize(source, source.find("w")).figures(len(values))


def test_what_is_taken_is_shown_at_the_next_look_and_not_before() -> None:
    book, figures, _, marks = made()
    assert [item.name for item in book.statistics] == ["std", "absmax", "zeros", "nonfinite"]
    assert [book.cell(at).state for at in range(12)] == [UNREAD] * 11 + [LOST]
    assert not book.look()
    figures["h.3.q"] = figures_of(1, 3)
    book.take(["h.3.q", "not here"])
    assert book.cell(6).state == UNREAD
    assert book.look()
    assert (book.cell(6).state, book.cell(6).value) == (READ, 1)
    assert not book.look()
    finding = Finding("error", "nan", "h.4.k", "1 of 4 values is NaN", ())
    assert book._asked is not None
    marks.record(book._asked.tree, "h.4.k", [finding], None)
    assert book.look()
    assert [book.mark_of_kind(kind) for kind in range(2)] == ["", "error"]
    assert (book.mark(9), book.evidence(9)) == ("error", "1 of 4 values is NaN")
    del figures["h.3.q"]  # its value was edited
    book.take(["h.3.q"])
    book.look()
    assert book.cell(6).state == UNREAD


def test_what_stands_out_of_its_kind() -> None:
    book, figures, _, _ = made()
    figures.update({name: figures_of(0, 12 if name == "h.2.q" else 2) for name in NAMES})
    book.take(NAMES)
    book.look()
    assert [odd.place for odd in book.usual(0).odd] == [2]
    assert (book.times_median(4), book.times_median(5)) == (6, 1)
    assert book.usual(1).odd == ()
    assert book.count_read(0) == 6
    book.turn(2)
    book.look()
    assert (book.statistic.name, book.cell(4).value, book.times_median(4)) == ("zeros", 0.5, None)


def test_gradients_and_changes_are_there_only_where_there_are_some() -> None:
    book, figures, changes, _ = made("since the pin", has_gradients=True)
    assert [item.name for item in book.statistics][4:] == ["change", "gradient"]
    sums = Sums(4, 4, 0, 0, 0, 1.0, 1.0, 1, 1, 2.0)
    changes |= {
        "h.0.q": Change("moved", sums, sums, 0.25),
        "h.0.k": Change("same"),
        "h.1.q": Change("new"),
        "h.1.k": Change("unread"),
        "h.2.q": Change("moved", sums, Sums(4, 3, 1, 0, 0, 1.0, 1.0, 1, 1, 2.0)),
        "h.3.q": Change("implied", about="only in A, which is no difference"),
        "h.3.k": Change("dtype", about="the type is f32 in A and f16 in B"),
        "h.4.q": Change("moved", sums, sums),  # nothing says how far
    }
    figures["h.0.q.grad"] = figures_of(3, 4)
    book.take(["h.0.q.grad", *changes])
    book.turn(-2)
    book.look()
    cells = [book.cell(at) for at in range(9)]
    assert [cell.value for cell in cells] == [0.25, 0, *[None] * 7]
    assert [cell.state for cell in cells] == [READ, READ, READ, LOST, READ, UNREAD, ABSENT, READ, READ]
    assert [cell.flags for cell in cells][4] == 1
    assert [book.told(at)[0] for at in (2, 3, 5, 7, 8)] == ["new", "\u2013", "not compared yet", "retyped", "moved"]
    assert book.told(7)[1] == "the type is f32 in A and f16 in B"
    book.turn(1)
    book.look()
    assert [book.cell(at).value for at in (0, 1)] == [5, None]
    assert [book.cell(at).state for at in (0, 1)] == [READ, ABSENT]
