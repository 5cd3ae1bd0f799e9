"""The filter language: one line of text that says which tensors to show.

``HELP`` below is the language as the help screen shows it. Terms are separated by spaces, and all of them must hold.
Nothing that can be typed raises: ``Query.errors`` says what is wrong with a term and where it is in the text, and the
other terms still apply. A term answers True, False, or None if it needs a statistic that is not known yet.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Container, Sequence
from functools import partial

import msgspec

from tui_params.core.figures import Figures
from tui_params.core.query.changes import Moved
from tui_params.core.query.fields import FIELDS, Facts, FiguresTest, InfoTest, UnfinishedError, flag_or_name
from tui_params.core.query.findings import needs_check
from tui_params.core.query.names import NameTest, glob_of_name, is_glob, part_of_name, regex_of_name
from tui_params.core.tensor import TensorInfo
from tui_params.errors import QueryError

ChangeOf = Callable[[str], "Moved | None"]

HELP: tuple[tuple[str, str], ...] = (
    ("attn", "names that contain attn, in upper or lower case"),
    ('"a b"  "x:0"', "in quotes, spaces and signs are literal"),
    ("layers.*.mlp.*", "a glob of whole segments, anywhere in the name: * ? [0-3]"),
    ("/q_proj|k_proj/", "a regular expression; the last / is optional; a space is \\s"),
    ("!term", "tensors that the term does not match"),
    ("dtype:bf16", "element type: short name, torch name, glob or beginning; float, int, bool, complex"),
    ("shape:4096,*", "also 4096x* and [4096, *] in quotes; * is one dimension, ... any number of them"),
    ("ndim>=2", "number of dimensions"),
    ("numel>1e6", "number of elements; k, M, B, T are thousands, millions, ..."),
    ("bytes>=1GiB", "size of the elements; kB, MB, GB are powers of 1000, KiB, MiB, GiB of 1024"),
    ("kind:buffer", "parameter, buffer, gradient or tensor (a checkpoint does not say which)"),
    ("device:cuda*", "device of a tensor in memory; cuda is every cuda device"),
    ("file:*00002*", "the file that it is in; without * any part of the file's name"),
    ("grad:yes  grad:none", "a parameter that has a gradient, that has none"),
    ("grad_norm>1  grad_nan>0", "any of these statistics of its gradient: grad_absmax, grad_std, ..."),
    ("trainable  frozen", "by requires_grad (or in the name); also requires_grad:yes, trainable:no"),
    ("tied:yes", "has the same elements as another name"),
    ("unreadable:yes", "its values cannot be read"),
    ("finding:error", "a finding: error, warning, info; finding:yes is any"),
    ("finding:dead", "a finding of that rule, or of rules with that in their name (nan, dead-rows, all-zero, ...)"),
    ("changed:yes  change>0.1", "what has moved since an earlier look: ||now - before|| / ||before||; also change>1%"),
    ("changed:no  cosine<0.99", "beside another source: what is the same in both; the cosine of the values of both"),
    ("only:a  only:b", "beside another source: what one side alone has"),
    ("nan>0  inf>0", "number of NaN, of infinities; also a share, nan>1%"),
    ("zeros>50%  subnormals>0", "number or share of zeros, of subnormal numbers"),
    ("min max absmax mean std l2 rms", "statistics of the finite elements: std>0.5, absmax>=1e4, mean<0"),
    (": = == != > >= < <=", "the operators; : = and == are the same"),
)
"""How each term is written, and what it selects."""

MAX_TEXT = 2000
"""A longer text is not a filter but pasted by accident."""


class TermError(msgspec.Struct, frozen=True):
    """What is wrong with ``text[start:stop]`` of a query; ``is_unfinished`` if typing on may mend it."""

    start: int
    stop: int
    message: str
    is_unfinished: bool = False


class Term(msgspec.Struct, frozen=True):
    """One term, at ``text[start:stop]``. Exactly one of its three tests is set."""

    start: int
    stop: int
    is_inverted: bool
    on_name: NameTest | None = None
    on_info: InfoTest | None = None
    on_figures: FiguresTest | None = None
    needs_reading: bool = False
    needs_check: bool = False
    needs_change: bool = False
    is_of_gradient: bool = False

    def match(
        self, info: TensorInfo, lowered: str, facts: Facts, figures: Figures | None, gradient: Figures | None
    ) -> bool | None:
        """Whether the term holds; None if that is not known (yet)."""
        if self.is_of_gradient and not facts.has_gradient:
            return False
        if self.on_name is not None:
            answer = self.on_name.holds(info.name, lowered)
        elif self.on_info is not None:
            answer = self.on_info(info, facts)
        else:
            known = gradient if self.is_of_gradient else figures
            answer = None if known is None or self.on_figures is None else self.on_figures(known)
        return None if answer is None else answer is not self.is_inverted


class Matches(msgspec.Struct, frozen=True):
    """The indices of the tensors that match, in order, and how many others may match.

    ``unknown`` counts the tensors for which the answer is not known (yet); ``unseen`` those among them whose names a
    regular expression did not look at, because it is too slow.
    """

    indices: tuple[int, ...]
    unknown: int = 0
    unseen: int = 0


class Query(msgspec.Struct, frozen=True):
    """A parsed filter. ``errors`` are the terms that do not apply and why. An empty query matches everything."""

    text: str
    terms: tuple[Term, ...] = ()
    errors: tuple[TermError, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether no term applies, so that everything matches."""
        return not self.terms

    @property
    def needs_figures(self) -> bool:
        """Whether a term needs statistics, so that the answers change while these are computed."""
        return any(term.on_figures is not None or term.needs_reading for term in self.terms)

    @property
    def needs_gradients(self) -> bool:
        """Whether a term needs statistics of gradients."""
        return any(term.is_of_gradient for term in self.terms)

    @property
    def needs_tensors(self) -> bool:
        """Whether a term needs statistics of the tensors themselves, or what is found in them."""
        return any((term.on_figures and not term.is_of_gradient) or term.needs_reading for term in self.terms)

    @property
    def needs_changes(self) -> bool:
        """Whether a term asks for what has moved since an earlier look."""
        return any(term.needs_change for term in self.terms)

    @property
    def needs_check(self) -> bool:
        """Whether a term asks for findings that are known only after everything was checked."""
        return any(term.needs_check for term in self.terms)

    def match(
        self,
        info: TensorInfo,
        figures: Figures | None = None,
        has_gradient: bool = False,
        has_ties: bool = False,
        said: frozenset[str] | None = None,
        gradient: Figures | None = None,
    ) -> bool | None:
        """Whether every term holds for the tensor; None if that is not known (yet).

        ``has_ties``: another tensor is tied to this one, so that its ``tied_to`` is this one's name. ``gradient`` are
        the figures of its gradient.
        """
        facts, lowered = Facts(has_gradient, has_ties, said), info.name.lower()
        answers = [term.match(info, lowered, facts, figures, gradient) for term in self.terms]
        if False in answers:
            return False
        return None if None in answers else True

    def filter(
        self,
        infos: Sequence[TensorInfo],
        figures_of: Callable[[str], Figures | None] | None = None,
        *,
        lowered: Sequence[str] | None = None,
        gradients: Container[str] = (),
        said_of: Callable[[str], frozenset[str] | None] | None = None,
        change_of: ChangeOf | None = None,
    ) -> Matches:
        """Which of the tensors match.

        ``lowered`` are their names in lower case, if the caller keeps them. ``gradients`` contains the names that
        have a gradient. ``said_of`` returns the rules and severities of a tensor's findings, None if it was not read;
        ``change_of`` how it has moved since an earlier look, None if that is not known.
        Terms about names are applied first, those about statistics last and only to the tensors that are left.
        """
        if not self.terms:
            return Matches(tuple(range(len(infos))))
        lowered = [info.name.lower() for info in infos] if lowered is None else lowered
        candidates: Sequence[int] = range(len(infos))
        open_: set[int] = set()
        names: list[str] = []
        slow: set[int] = set()
        for term in sorted(self.terms, key=_cost):
            if term.on_name is not None:
                if term.on_name.is_exact and not names:
                    names = [info.name for info in infos]
                passed, unseen = term.on_name.select(names, lowered, candidates, term.is_inverted)
                slow.update(unseen)
            elif term.on_info is not None:
                passed, unseen = _select(
                    term, candidates, partial(_ask_info, term, infos, gradients, said_of, change_of)
                )
            else:
                passed, unseen = _select(term, candidates, partial(_ask_figures, term, infos, figures_of, gradients))
            if unseen:
                open_.update(unseen)
                candidates = sorted(passed + unseen)
            else:
                candidates = passed
        if open_:
            certain = tuple(i for i in candidates if i not in open_)
            return Matches(certain, len(candidates) - len(certain), len(slow.intersection(candidates)))
        return Matches(tuple(candidates))

    def name_spans(self, name: str) -> tuple[tuple[int, int], ...]:
        """The parts ``name[start:stop]`` that the terms match, in order and without overlaps; for highlighting."""
        found = sorted(
            span
            for term in self.terms
            if term.on_name is not None and not term.is_inverted
            for span in term.on_name.spans(name)
        )
        merged: list[tuple[int, int]] = []
        for start, stop in found:
            if merged and start <= merged[-1][1]:
                merged[-1] = (merged[-1][0], max(stop, merged[-1][1]))
            else:
                merged.append((start, stop))
        return tuple(merged)


def _cost(term: Term) -> int:
    if term.on_name is not None:
        return 1 if term.on_name.is_regex else 0
    return 2 if term.on_info is not None else 3


def _select(
    term: Term, candidates: Sequence[int], ask: Callable[[Sequence[int]], list[bool | None]]
) -> tuple[list[int], list[int]]:
    answers = ask(candidates)
    wanted = not term.is_inverted
    passed = [i for i, answer in zip(candidates, answers, strict=True) if answer is wanted]
    unseen = [i for i, answer in zip(candidates, answers, strict=True) if answer is None] if None in answers else []
    return passed, unseen


def _ask_info(
    term: Term,
    infos: Sequence[TensorInfo],
    gradients: Container[str],
    said_of: Callable[[str], frozenset[str] | None] | None,
    change_of: ChangeOf | None,
    candidates: Sequence[int],
) -> list[bool | None]:
    test = term.on_info
    if test is None:
        return [None] * len(candidates)
    if term.needs_change:
        return [test(infos[i], Facts(change=change_of(infos[i].name) if change_of else None)) for i in candidates]
    if term.needs_reading:
        return [test(infos[i], Facts(said=said_of(infos[i].name) if said_of else None)) for i in candidates]
    tied = {info.tied_to for info in infos if info.tied_to is not None}
    if not tied and gradients == ():
        facts = Facts()
        return [test(infos[i], facts) for i in candidates]
    return [test(info, Facts(info.name in gradients, info.name in tied)) for info in map(infos.__getitem__, candidates)]


def _ask_figures(
    term: Term,
    infos: Sequence[TensorInfo],
    figures_of: Callable[[str], Figures | None] | None,
    gradients: Container[str],
    candidates: Sequence[int],
) -> list[bool | None]:
    test = term.on_figures
    if term.is_of_gradient:
        return [_ask_gradient(term, infos[i].name, figures_of, gradients) for i in candidates]
    if figures_of is None or test is None:
        return [None] * len(candidates)
    found = [figures_of(infos[i].name) for i in candidates]
    return [None if figures is None else test(figures) for figures in found]


def _ask_gradient(
    term: Term, name: str, figures_of: Callable[[str], Figures | None] | None, gradients: Container[str]
) -> bool | None:
    """What a term about gradients says of a parameter; neither it nor its opposite holds where there is none."""
    if name not in gradients:
        return term.is_inverted
    figures = figures_of(f"{name}.grad") if figures_of is not None else None
    return None if figures is None or term.on_figures is None else term.on_figures(figures)


# A quoted part, or anything but a space. A quote that is not closed yet reaches to the end of the text.
_TERM = re.compile(r"""(?:"[^"]*(?:"|$)|'[^']*(?:'|$)|[^\s"'])+""")
_PATTERN = re.compile(r"!*/\S*")
_FIELD = re.compile(r"([A-Za-z_][\w-]*)(:?(?:==|!=|>=|<=|=|>|<)|:)")
_HALF_OPERATOR = re.compile(r"([A-Za-z_]\w*)!")


def parse_query(text: str) -> Query:
    """The query that ``text`` means. Never raises: see ``Query.errors``."""
    terms: list[Term] = []
    errors: list[TermError] = []
    if len(text) > MAX_TEXT:
        too_long = f"this filter has {len(text)} characters; at most {MAX_TEXT} can be used"
        return Query(text, (), (TermError(0, len(text), too_long),))
    at = 0
    while at < len(text):
        match = _PATTERN.match(text, at) or _TERM.match(text, at)
        if match is None:  # a space
            at += 1
            continue
        start, at = at, match.end()
        try:
            term = _parse_term(text, start, at)
        except QueryError as error:
            unfinished = isinstance(error, UnfinishedError)
            stop = min(max(error.stop, error.start + 1), at)
            errors.append(TermError(max(min(error.start, at - 1), start), stop, str(error), unfinished))
        else:
            terms += [] if term is None else [term]
    return Query(text, tuple(terms), tuple(errors))


def _parse_term(text: str, start: int, stop: int) -> Term | None:
    """The term at ``text[start:stop]``, or None if it is empty. Raises QueryError with places in ``text``."""
    first = start
    while first < stop and text[first] == "!":
        first += 1
    inverted = (first - start) % 2 == 1
    body = text[first:stop]
    if not body:
        raise UnfinishedError("! leaves out what follows it", start, stop)
    try:
        if body.startswith("/"):
            pattern = body[1:-1] if len(body) > 1 and body.endswith("/") and not body.endswith(r"\/") else body[1:]
            first += 1
            return Term(start, stop, inverted, on_name=regex_of_name(pattern)) if pattern else None
        if body[0] in "\"'":
            word = _unquote(body)
            return Term(start, stop, inverted, on_name=part_of_name(word)) if word else None
        match = _FIELD.match(body)
        if match is None:
            flag = flag_or_name(body.lower())
            if flag is not None:
                return Term(start, stop, inverted, on_info=flag)
            return Term(start, stop, inverted, on_name=_parse_word(body))
        first += match.end()
        return _parse_field(match[1], match[2], body[match.end() :], inverted, start, stop)
    except QueryError as error:
        raise type(error)(str(error), first + error.start, first + error.stop) from error


def _parse_word(body: str) -> NameTest:
    half = _HALF_OPERATOR.fullmatch(body)
    if half and half[1].lower() in FIELDS:
        raise UnfinishedError(f"{body} asks for nothing yet", 0, len(body))
    word = _unquote(body)
    return glob_of_name(word) if is_glob(word) else part_of_name(word)


def _parse_field(name: str, sign: str, value: str, inverted: bool, start: int, stop: int) -> Term:
    field = FIELDS.get(name.lower())
    before = len(name) + len(sign)
    if field is None:
        from difflib import get_close_matches

        close = get_close_matches(name.lower(), FIELDS, 1)
        hint = f"did you mean {close[0]}?" if close else "put it in quotes to look for it in names"
        raise QueryError(f"{name[:40]!r} is not a field; {hint}", -before, -len(sign))
    word = _unquote(value)
    if not word:
        raise UnfinishedError(f"{name}{sign} asks for nothing yet", -before, 0)
    sign = sign[1:] if len(sign) > 1 and sign[0] == ":" else sign
    if field.on_info is not None:
        test = field.on_info(sign, word)
        is_late = field.needs_reading and needs_check(word.lower())
        needs = field.needs_reading, is_late, field.needs_change
        return Term(start, stop, inverted, None, test, None, *needs)
    assert field.on_figures is not None  # every field has one of the two
    return Term(start, stop, inverted, on_figures=field.on_figures(sign, word), is_of_gradient=field.is_of_gradient)


def _unquote(text: str) -> str:
    """The text without its quotes."""
    return re.sub(r"""(?s)"([^"]*)"?|'([^']*)'?""", lambda match: match[1] or match[2] or "", text)
