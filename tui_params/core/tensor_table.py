"""TensorTable: the tensors of a source as a sequence, as plain dicts, and as a table for a person."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, overload

from tui_params.core import text
from tui_params.core.kernels.float_mode import with_subnormals
from tui_params.core.name_order import natural_order, order_of_appearance
from tui_params.core.reading.readable import Readable
from tui_params.core.table_lines import table_html, table_lines
from tui_params.core.tensor import TensorInfo

if TYPE_CHECKING:
    from tui_params.core.reading.outcome import Outcome

FIGURES = (
    "count", "finite", "nan", "pos_inf", "neg_inf", "zeros", "subnormals",
    "min", "max", "mean", "std", "abs_max", "l2_norm", "rms",
)  # fmt: skip
"""The statistics that ``TensorTable.to_dicts`` knows, as they are called in ``stats --json``."""

_PLAIN_WIDTH = 100


class TensorTable(Sequence[TensorInfo]):
    """The tensors of a source, or a slice of them, in the order of ``tui-params ls``.

    ``table[3]`` is a TensorInfo, ``table[:10]`` a shorter table. It shows itself as a table in a Python shell, in a
    notebook and when rich prints it: of more than 30 tensors only the first and the last.
    """

    def __init__(self, source: Readable, tensors: Sequence[TensorInfo]) -> None:
        self._source = source
        self._tensors = tuple(tensors)

    def __len__(self) -> int:
        return len(self._tensors)

    def __iter__(self) -> Iterator[TensorInfo]:
        return iter(self._tensors)

    @overload
    def __getitem__(self, at: int) -> TensorInfo: ...
    @overload
    def __getitem__(self, at: slice) -> TensorTable: ...
    def __getitem__(self, at: int | slice) -> TensorInfo | TensorTable:
        if isinstance(at, slice):
            return TensorTable(self._source, self._tensors[at])
        return self._tensors[at]

    @with_subnormals
    def to_dicts(self, figures: bool | Iterable[str] = False) -> list[dict[str, Any]]:
        """One dict for each tensor, ready for ``json.dumps`` and ``pandas.DataFrame``.

        ``shape`` (a list) and ``numel`` count elements, ``nbytes`` bytes. ``dtype`` is the short name, such as
        ``bf16``. ``kind`` is ``tensor``, ``parameter``, ``buffer`` or ``array``. ``requires_grad`` is None where it is
        not known; torch.save keeps it, but the tensors of a state dict are detached. ``device`` is None for tensors in
        a file, ``file`` for those in memory. ``tied_to`` is the first name of the same elements, ``unreadable`` one
        sentence why the values cannot be read.

        With ``figures`` every tensor of the table is read whole: True adds all of FIGURES, a list those that it names.
        They are those of ``tui-params stats``: over the finite elements, exact, ``std`` that of the population; None
        where a statistic has no value. ``unchecked`` is then one sentence why a tensor has none at all, else None.
        Raises ValueError for the name of a figure that does not exist.
        """
        rows = [_plain(info) for info in self._tensors]
        wanted = _wanted(figures)
        if wanted:
            outcomes = self._read()
            for row, info in zip(rows, self._tensors, strict=True):
                outcome = outcomes.get(info.name)
                found = outcome.figures if outcome is not None else None
                row.update((name, None if found is None else getattr(found, name)) for name in wanted)
                row["unchecked"] = outcome.reason if outcome is not None else "it was not read"
        return rows

    def _read(self) -> dict[str, Outcome]:
        """The outcome of every tensor by name; a tensor that cannot be read has a reason in its own."""
        from tui_params.core.reading.sweep import scan_all

        outcomes: dict[str, Outcome] = {}

        def take(outcome: Outcome) -> None:
            outcomes[outcome.name] = outcome

        scan_all(self._source, [info.name for info in self._tensors], take)
        return outcomes

    def __repr__(self) -> str:
        return "\n".join(self.lines(_PLAIN_WIDTH))

    def lines(self, width: int) -> Iterator[str]:
        """The table as lines of text of at most ``width`` characters, the first the titles of the columns."""
        if self._tensors:
            yield from table_lines(self._tensors, max(width, 1))
        else:
            yield "no tensors"

    def __rich_console__(self, console: Any, options: Any) -> Iterator[Any]:
        """What rich prints. Rich itself is not imported here: its console makes the text."""
        for number, line in enumerate(self.lines(options.max_width)):
            yield plain_text(console, line, "bold" if self._tensors and not number else "")

    def _repr_html_(self) -> str:
        return table_html(self._tensors) if self._tensors else "<p>no tensors</p>"


def plain_text(console: Any, line: str, style: str = "") -> Any:
    """A line for a console of rich, in which nothing is read as markup and nothing is wrapped."""
    shown = console.render_str(line, style=style, markup=False, emoji=False, highlight=False)
    shown.no_wrap, shown.overflow = True, "ellipsis"
    return shown


def _plain(info: TensorInfo) -> dict[str, Any]:
    return {
        "name": info.name,
        "shape": list(info.shape),
        "dtype": info.dtype.short,
        "numel": info.numel,
        "nbytes": info.nbytes,
        "kind": info.kind,
        "requires_grad": info.requires_grad,
        "device": info.device,
        "tied_to": info.tied_to,
        "file": info.file,
        "unreadable": info.unreadable,
    }


def _wanted(figures: bool | Iterable[str]) -> tuple[str, ...]:
    """The names of the figures that are asked for. Raises ValueError."""
    if isinstance(figures, bool):
        return FIGURES if figures else ()
    # A text is a name, not a list of letters.
    wanted = tuple(dict.fromkeys([figures] if isinstance(figures, str) else figures))
    for name in wanted:
        if name not in FIGURES:
            raise ValueError(f"there is no figure {name!r}; the figures are {', '.join(FIGURES)}")
    return wanted


def ordered(tensors: Sequence[TensorInfo], *, is_ordered: bool) -> list[TensorInfo]:
    """Tensors as the tree has them: the leaves of a module together, in their own order or in the natural one."""
    segments = [info.name.split(".") for info in tensors]
    order = order_of_appearance(segments) if is_ordered else natural_order(segments, len(segments))
    return [tensors[index] for index in order]


def is_state(name: str, states: Sequence[str]) -> bool:
    """Whether a tensor is in one of the modules at the top that are states of a training run, or in an optimizer."""
    top, dot, _ = name.partition(".")
    return bool(dot) and (top in states or top.startswith("optim"))


def describe_tensors(
    tensors: Sequence[TensorInfo], *, is_all: bool = True, states: Sequence[str] = (), has_codes: bool = False
) -> str:
    """How many tensors, parameters and bytes: tied tensors count once, buffers and ``states`` are no parameters.

    "At least", unless these are all tensors of the source (``is_all``) and the size of each is known. ``has_codes``:
    some are codes of packed weights, so that not every element is a parameter.
    """
    once = {info.first_name: info for info in tensors}.values()
    buffers = sum(info.numel for info in once if info.kind == "buffer")
    in_states = sum(info.numel for info in once if is_state(info.name, states))
    parameters = sum(info.numel for info in once) - buffers - in_states
    unreadable = sum(info.unreadable is not None for info in tensors)
    least = "" if is_all and not any(info.has_unknown_size for info in tensors) else "at least "
    word = "stored element" if has_codes else "parameter"
    parts = [text.plural(len(tensors), "tensor"), f"{least}{text.short_plural(parameters, word)}"]
    if in_states:
        parts.append(f"{text.numel(in_states)} in training states")
    if buffers:
        parts.append(f"{text.numel(buffers)} in buffers")
    parts.append(f"{least}{text.size(sum(info.nbytes for info in once))}")
    if unreadable:
        parts.append(f"{unreadable:,} cannot be read")
    return ", ".join(parts)
