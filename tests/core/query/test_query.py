"""The filter language: what each term matches, what a wrong one is answered, and that no key press waits."""

from __future__ import annotations

import fnmatch
import re
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.factories_memory import MemorySource
from tui_params.core.dtypes import DTYPES, from_torch, unknown
from tui_params.core.figures import Figures
from tui_params.core.health.registry import RULES
from tui_params.core.query.fields import FIELDS
from tui_params.core.query.findings import findings_called
from tui_params.core.query.names import REGEX_SECONDS, STEP, translate_glob
from tui_params.core.query.query import HELP, MAX_TEXT, Matches, parse_query
from tui_params.core.tensor import TensorInfo, describe

UP = "model.layers.0.mlp.up_proj.weight"


def tensor(
    name: str = UP, shape: tuple[int, ...] = (4096, 1024), dtype: str = "bfloat16", **changes: object
) -> TensorInfo:
    kind = from_torch(dtype)
    assert kind is not None
    return msgspec.structs.replace(describe(name, shape, kind), **changes)


def figures(numel: int = 100, **changes: object) -> Figures:
    values: dict[str, object] = {
        "numel": numel, "parts": 1, "count": numel, "finite": numel, "nan": 0, "pos_inf": 0, "neg_inf": 0, "zeros": 0,
        "subnormals": 0, "min": -1.0, "max": 2.0, "mean": 0.5, "std": 0.25, "abs_max": 2.0, "l2_norm": 5.0, "rms": 0.5,
        "quantiles": (), "is_exact": True, "quantiles_exact": True, "quantile_error": 0.0, "spark": (),
        "spark_low": None, "spark_high": None,
    }  # fmt: skip
    return Figures(**(values | changes))  # type: ignore[arg-type]


def holds(text: str, info: TensorInfo | None = None, of: Figures | None = None, **facts: Any) -> bool | None:
    query = parse_query(text)
    assert query.errors == ()
    return query.match(info or tensor(), of, **facts)


@pytest.mark.parametrize(
    ("text", "name", "expected"),
    [
        ("", UP, True),
        ("   ", UP, True),
        ("up_proj", UP, True),
        ("UP_PROJ", UP, True),
        ("up_proj", UP.upper(), True),
        ("down", UP, False),
        ("mlp weight", UP, True),
        ("mlp bias", UP, False),
        ("!mlp", UP, False),
        ("!bias", UP, True),
        ("!!mlp", UP, True),
        ("mlp !bias", UP, True),
        ("layers.*.mlp.*", UP, True),
        ("layers.*", UP, True),
        ("*.weight", UP, True),
        ("*.bias", UP, False),
        ("*", UP, True),
        ("mlp.*", UP, True),
        ("lp.*", UP, False),  # a glob begins at a dot
        ("layers.?.mlp", UP, True),
        ("layers.?.mlp", "model.layers.10.mlp.up_proj.weight", False),
        ("layers.?.ml", UP, False),  # and ends at one
        ("layers.[0-3].mlp", UP, True),
        ("layers.[!0-3].mlp", UP, False),
        ("LAYERS.*.MLP.*", UP, True),
        ("model.*.weight", UP, True),
        ("w[", "w[0]", False),  # no class: a plain bracket, and a glob ends at a dot
        ("w[0", "a.w[0", True),
        ('"w[0]"', "a.w[0].b", True),
        ('"a b"', "x.a b.y", True),
        ("'a b'", "x.a b.y", True),
        ('"a b', "x.a b.y", True),
        ('"x:0"', "x:0", True),
        ('!"a b"', "x.a b.y", False),
        ("/up|down/", UP, True),
        ("/up|down", UP, True),
        (r"/layers\.\d+\.mlp/", UP, True),
        ("/^up/", UP, False),
        ("/WEIGHT$/", UP, True),
        ("/(?-i:WEIGHT)$/", UP, False),
        ("/(?i)WEIGHT$/", UP, True),
        ("/Up_Proj/", UP, True),
        (r"/(?P<x>o)d.*(?P=x)j/", UP, True),
        ("/[[a]odel/", UP, False),  # Python warns of a possible nested set
        ("/[^W]eight$/", UP, False),
        (r"/\Dlayers/", UP, True),
        (r"/layers\.\d+\..*\.(gate|up|down)_proj\..*t$/", UP, True),
        ("!/up|down/", UP, False),
        ("/", UP, True),
        ("//", UP, True),
        (r"/a\/b", "a/b", True),
        ('/"/', 'a"b', True),
    ],
)
def test_names(text: str, name: str, expected: bool) -> None:
    info = tensor(name)
    assert holds(text, info) is expected
    found = parse_query(text).filter([info, tensor("other.name"), info])
    assert (0 in found.indices, 2 in found.indices, found.unknown) == (expected, expected, 0)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("dtype:bf16", True),
        ("dtype:BF16", True),
        ("dtype=bfloat16", True),
        ("dtype==torch.bfloat16", True),
        ("dtype!=bf16", False),
        ("!dtype:bf16", False),
        ("dtype:b*", True),
        ("dtype:bf", True),
        ("dtype:float", True),
        ("dtype:int", False),
        ("dtype:half", False),
        ("dtype:f*", False),
        ("dtype:f8*", False),
        ("numel:4194304", True),
        ("numel>1e6", True),
        ("numel:>1e6", True),
        ("numel>4M", True),
        ("numel>=4_194_304", True),
        ("numel<4194304", False),
        ("nbytes:8MiB", True),
        ("bytes>=8.0MiB", True),
        ("bytes>8.4MB", False),
        ("size>8k", True),
        ("bytes>=1GiB", False),
        ("ndim:2", True),
        ("ndim>=3", False),
        ("ndim!=2", False),
        ("shape:4096x1024", True),
        ("shape:4096,1024", True),
        ("shape:*x1024", True),
        ("shape:*x1023", False),
        ("shape:[4096,*]", True),
        ("shape:(4096,*)", True),
        ('shape:"[4096, 1024]"', True),
        ("shape:...", True),
        ("shape:...x1024", True),
        ("shape:4096,...", True),
        ("shape:4096,...,1024", True),
        ("shape:4096,*,1024", False),
        ("shape:*", False),
        ("shape:[]", False),
        ("shape!=4096x1024", False),
        ("kind:tensor", True),
        ("kind:t", True),
        ("kind:buffer", False),
        ("kind:array", False),
        ("kind!=array", True),
        ("kind:*er", False),
        ("device:cuda", False),
        ("file:*00002*", True),
        ("file:00002-of", True),
        ("file:*00001*", False),
        ("tied:no", True),
        ("tied:yes", False),
        ("unreadable:no", True),
        ("grad:no", False),
        ("grad:y", False),
    ],
)
def test_fields(text: str, expected: bool) -> None:
    info = tensor(file="model-00002-of-00003.safetensors")
    assert holds(text, info) is expected
    assert parse_query(text).filter([info]).indices == ((0,) if expected else ())


def test_f8_and_foreign_types_are_found_by_their_own_names() -> None:
    assert holds("dtype:f8*", tensor(dtype="float8_e4m3fn"))
    assert holds("dtype:f8_e4m3", tensor(dtype="float8_e4m3fn"))
    assert holds("dtype:float8_e4m3fn", tensor(dtype="float8_e4m3fnuz")) is False
    assert holds("dtype:q4_k", describe("x", (256,), unknown("Q4_K")))
    assert holds("dtype:unknown", describe("x", (256,), unknown("Q4_K")))


def test_scalars_and_empty_shapes() -> None:
    for text in ("shape:[]", "shape:scalar", "shape:...", "ndim:0", "numel:1"):
        assert holds(text, tensor(shape=()))
    assert holds("shape:0x3", tensor(shape=(0, 3)))


def test_live_facts() -> None:
    assert holds("device:cuda", tensor(device="cuda:1"))
    assert holds("device:cuda*", tensor(device="cuda:1"))
    assert holds("device:cuda:0", tensor(device="cuda:1")) is False
    assert holds("grad:yes", has_gradient=True)
    assert holds("tied:yes", tensor(tied_to="x"))
    assert holds("tied:yes", has_ties=True)
    assert holds("trainable:yes", tensor(kind="parameter", requires_grad=True))
    assert holds("frozen:yes", tensor(kind="parameter", requires_grad=False))
    assert holds("trainable:no", tensor(kind="buffer", requires_grad=False))
    assert holds("frozen:yes", tensor(kind="buffer", requires_grad=False)) is False
    assert holds("unreadable:yes", tensor(unreadable="the shard is missing"))


def test_a_checkpoint_does_not_say_what_is_trainable() -> None:
    for text in ("trainable:yes", "trainable:no", "!trainable:yes", "frozen:yes"):
        assert holds(text) is None
        assert parse_query(text).filter([tensor()]).unknown == 1


def test_both_sides_of_a_tie_and_gradients_are_found_in_a_list() -> None:
    infos = [tensor("embed"), tensor("norm"), tensor("head", tied_to="embed")]
    assert parse_query("tied:yes").filter(infos).indices == (0, 2)
    assert parse_query("grad:yes").filter(infos, gradients={"norm"}).indices == (1,)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("nan>0", True),
        ("nan>=3%", True),
        ("nan>3%", False),
        ("inf:3", True),
        ("zeros>50%", True),
        ("zeros>=51%", True),
        ("zeros>51", False),
        ("subnormals==0", True),
        ("std>0.2", True),
        ("std<.2", False),
        ("mean<0", False),
        ("mean>-1e-3", True),
        ("min<=-1", True),
        ("max>1e4", False),
        ("absmax>1.5", True),
        ("abs_max!=2", False),
        ("l2:5", True),
        ("rms>0.4", True),
        ("!rms>0.4", False),
    ],
)
def test_statistics(text: str, expected: bool) -> None:
    query = parse_query(text)
    assert query.needs_figures
    assert query.match(tensor()) is None
    assert holds(text, of=figures(nan=3, pos_inf=1, neg_inf=2, zeros=51)) is expected


def test_what_part_of_a_tensor_says_of_the_whole() -> None:
    part = figures(numel=1000, count=100, nan=2)
    assert holds("nan>1", of=part) is True
    assert holds("nan>2", of=part) is None
    assert holds("nan:0", of=part) is False
    assert holds("nan:2", of=part) is None
    assert holds("nan<=1", of=part) is False
    assert holds("nan<=2", of=part) is None
    assert holds("nan!=1", of=part) is True
    assert holds("inf>0", of=part) is None
    assert holds("min<0", of=part) is True
    assert holds("min>-1", of=part) is False
    assert holds("min>-2", of=part) is None
    assert holds("max>1", of=part) is True
    assert holds("max<3", of=part) is None
    assert holds("std>0", of=part) is None
    assert holds("nan>0%", of=part) is None


def test_a_statistic_without_a_value_matches_no_comparison() -> None:
    empty = figures(numel=0, mean=None, std=None, min=None, max=None)
    for text in ("mean>0", "mean<=0", "mean!=0", "zeros>=0%"):
        assert holds(text, of=empty) is False


def test_unknown_answers_are_counted_apart() -> None:
    infos = [tensor("a.weight"), tensor("b.weight"), tensor("c.bias")]
    known = {"a.weight": figures(nan=1)}
    found = parse_query("weight nan>0").filter(infos, known.get)
    assert (found.indices, found.unknown, found.unseen) == ((0,), 1, 0)
    assert parse_query("nan>0").filter(infos).unknown == 3
    assert parse_query("nothing nan>0").match(infos[0]) is False


@pytest.mark.parametrize(
    ("text", "part", "says"),
    [
        ("dtpe:bf16", "dtpe", "'dtpe' is not a field; did you mean dtype?"),
        ("up qqqq:1", "qqqq", "in quotes"),
        ("numel>abc", "abc", "'abc' is not a number"),
        ("numel>3q", "q", "not a unit"),
        ("std>3k", "k", "known: none"),
        ("max>1e999", "1e999", "more than"),
        ("dtype>bf16", ">", "compared with : or !="),
        ("shape:4x8xq", "q", "'q' is not a dimension"),
        ("shape:..,1", "..", "is not a dimension"),
        ("shape:...,1,...,2,...", "...,1,...,2,...", "twice at most"),
        ("kind:bufer", "bufer", "the kinds are tensor, parameter, buffer, gradient, array"),
        ("tied:maybe", "maybe", "neither yes nor no"),
        ("/(/", "(", "not a regular expression"),
        ("/(a+)+$/", "+", "for ever"),
        ("up /(a|b)*c/", "*", "for ever"),
        ("/(a?b?){2,}/", "{2,}", "for ever"),
        ("/.*.*.*.*.*x/", "*", "too long"),
        ("/(a|a)*.*/", "*", "for ever"),
        ("/" + "a?" * 18 + "/", "?", "too long"),
        ("/" + "(a|a)" * 18 + "/", "|", "too long"),
        ("/" + "a" * 201 + "/", "a" * 201, "at most 200"),
        ("*" + "a" * 200, "*" + "a" * 200, "at most 200"),
        ("file:*" + "a" * 200, "*" + "a" * 200, "at most 200"),
        ("/((){900}){900}/", "{900}", "for ever"),
        ("/(){1001}/", "{1001}", "at most 1000"),
        ("/a{5,10000000}/", "{5,10000000}", "at most 1000"),
    ],
)
def test_a_wrong_term_says_what_is_wrong_and_where(text: str, part: str, says: str) -> None:
    query = parse_query(text)
    [error] = query.errors
    assert text[error.start : error.stop] == part
    assert says in error.message
    assert not error.is_unfinished
    assert parse_query("layers " + text).match(tensor())  # the other terms apply


@pytest.mark.parametrize(
    "text",
    [
        "dtype:",
        "numel>",
        "numel!",
        "nan!=",
        "shape:",
        "shape:4x",
        "shape:[4,",
        "max>-",
        "max>1e",
        "max>1.5e-",
        "!",
        "numel>.",
    ],
)
def test_a_half_typed_term_matches_everything(text: str) -> None:
    query = parse_query(text)
    [error] = query.errors
    assert error.is_unfinished
    assert 0 <= error.start < error.stop <= len(text)
    assert query.is_empty
    assert query.match(tensor())
    assert query.filter([tensor()]).indices == (0,)


def test_spans_to_highlight() -> None:
    def parts(text: str) -> list[str]:
        return [UP[start:stop] for start, stop in parse_query(text).name_spans(UP)]

    assert parts("MLP up") == ["mlp", "up"]
    assert parts("e") == ["e"] * UP.count("e")
    assert parts("up_p p_proj") == ["up_proj"]
    assert parts("*.weight") == [".weight"]
    assert parts("layers.*.mlp.*") == ["layers.0.mlp."]
    assert parts("!mlp dtype:bf16") == []
    assert parts("/[ay]+/") == ["ay"]
    assert parts("*") == []


def test_help_is_true() -> None:
    examples = [text for text, _ in HELP if not text.startswith((":", "min "))]
    for text in examples:
        for example in re.split("  +", text):
            assert parse_query(example).errors == (), example
    shown = " ".join(text for text, _ in HELP)
    for field in FIELDS.values():
        names = [name.removeprefix("grad_") if field.is_of_gradient else name for name in field.names]
        assert any(name in shown for name in names), names


def test_what_was_pasted_by_accident_is_no_filter() -> None:
    query = parse_query("weight " * (MAX_TEXT // 7 + 1))
    assert query.is_empty
    assert "at most 2000" in query.errors[0].message


class Clock:
    """A clock that goes on by a fixed time whenever it is read."""

    def __init__(self, seconds: float) -> None:
        self.now, self.seconds = 0.0, seconds

    def __call__(self) -> float:
        self.now += self.seconds
        return self.now


def test_a_slow_pattern_is_stopped_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    infos = [tensor(f"layers.{number}.weight") for number in range(5 * STEP)]
    # It is read once before the first step and once before each: two steps are within the time, the third is not.
    monkeypatch.setattr("tui_params.core.query.names.perf_counter", Clock(REGEX_SECONDS * 0.4))
    found = parse_query("/weight/").filter(infos)
    assert found.indices == tuple(range(2 * STEP))
    assert (found.unknown, found.unseen) == (3 * STEP, 3 * STEP)
    monkeypatch.setattr("tui_params.core.query.names.perf_counter", Clock(0))
    assert parse_query("/weight/").filter(infos).indices == tuple(range(5 * STEP))


def test_a_pattern_that_could_backtrack_sees_no_long_name() -> None:
    query = parse_query("/.*.*.*b/")
    on_name = query.terms[0].on_name
    assert on_name is not None
    assert 64 <= on_name.longest < 200
    long = tensor("a" * (on_name.longest + 1))
    assert query.match(long) is None
    assert query.match(tensor("a" * (on_name.longest - 1) + "b")) is True
    found = query.filter([long, tensor("ab")])
    assert (found.indices, found.unknown, found.unseen) == ((1,), 1, 1)
    assert query.name_spans(long.name) == ()


@pytest.mark.parametrize("word", ["*a" * 4 + "*b", "a*" * 4 + "b", "?*" * 4 + "b"])
def test_a_glob_cannot_backtrack(word: str) -> None:
    assert holds(word, tensor("a." * 8)) is False
    # Between the first star and the last every piece is found once and kept: an atomic group, and no other repeat.
    outside = re.sub(r"\(\?=\(\?P<(s\d+)>\.\*\?[^()*+?{|]*\)\)\(\?P=\1\)", "", translate_glob(word))
    assert outside.count("*") <= 1
    assert not set(outside) & set("+?{|(")


LINES = st.text(st.sampled_from("ab01.x*?[]!-:=<>/\"' \\(){}|+,%^$e") | st.characters(), max_size=30)
TERMS = st.lists(
    st.sampled_from([text for pair in HELP for text in pair[0].split()] + ["nan>1", "b*", "/a.b/", "!a"]), max_size=4
).map(" ".join)
NAMES = st.text("ab.01AB_[]", max_size=12)


@settings(max_examples=300)
@given(
    LINES
    | TERMS
    | st.builds("{}{}{}".format, st.sampled_from(sorted(FIELDS)), st.sampled_from([":", ">", "!="]), LINES)
)
def test_nothing_that_can_be_typed_raises(text: str) -> None:
    query = parse_query(text)
    for error in query.errors:
        assert 0 <= error.start < error.stop <= len(text)
        assert error.message
    info = tensor(device="cpu", file="x")
    answer = query.match(info, figures())
    found = query.filter([info], lambda _: figures())
    assert (answer is True) == (found.indices == (0,))
    assert (answer is None) == (found.unknown == 1)
    for start, stop in query.name_spans(info.name):
        assert 0 <= start < stop <= len(info.name)


@settings(max_examples=150)
@given(st.lists(NAMES, max_size=8), st.text("ab.01A*?[-]!", min_size=1, max_size=6), st.booleans())
def test_filtering_a_list_is_matching_each(names: list[str], word: str, inverted: bool) -> None:
    infos = [tensor(name) for name in names]
    query = parse_query(("!" if inverted else "") + word)
    expected = tuple(i for i, info in enumerate(infos) if query.match(info))
    assert query.filter(infos).indices == expected
    assert query.filter(infos, lowered=[name.lower() for name in names]).indices == expected


@settings(max_examples=300)
@given(st.text("ab.*?", max_size=8), st.text("ab.", max_size=10))
def test_globs_are_those_of_the_shell(pattern: str, text: str) -> None:
    ours = re.compile(f"(?s:{translate_glob(pattern)})").fullmatch(text) is not None
    assert ours == fnmatch.fnmatchcase(text, pattern)


@settings(max_examples=300)
@given(st.text("ab.*?", min_size=1, max_size=6), st.text("ab.", max_size=10))
def test_a_glob_is_found_between_dots(pattern: str, name: str) -> None:
    if not set(pattern) & set("*?"):
        return
    cuts = [0, *(i + 1 for i, character in enumerate(name) if character == ".")]
    ends = [*(i for i, character in enumerate(name) if character == "."), len(name)]
    parts = [name[cut:end] for cut in cuts for end in ends if cut <= end]
    # A star at an edge is satisfied by nothing, next to a dot of the pattern's own or not.
    expected = any(fnmatch.fnmatchcase(part, pattern) for part in [*parts, name])
    assert (parse_query(pattern).match(tensor(name)) is True) == expected


class Counted(list[TensorInfo]):
    """Tensors that count how often one of them is looked at."""

    looks = 0

    def __getitem__(self, place: Any) -> Any:
        self.looks += 1
        return super().__getitem__(place)


@pytest.mark.parametrize(
    ("text", "looks"),
    [
        ("up_proj", 0),
        ("*.up_proj.*", 0),
        ("[0-3].mlp", 0),
        ("/up|down/", 0),
        ("shape:*x1024", 120),
        ("dtype:bf16 up_proj", 40),
        ("dtype:bf16 up_proj numel>1", 80),
        ("dtype:f32 up_proj numel>1", 40),
        ("mean>0 up_proj /experts.7/", 4),
        ("nosuchname dtype:bf16", 0),
    ],
)
def test_a_key_press_looks_at_no_more_tensors_than_it_must(text: str, looks: int) -> None:
    names = [f"layers.{i}.mlp.experts.{j}.{part}_proj.weight" for i in range(4) for j in range(10) for part in ("gate", "up", "down")]  # fmt: skip  # noqa: E501
    infos = Counted(tensor(name) for name in names)
    found = parse_query(text).filter(infos, lambda name: figures(), lowered=[name.lower() for name in names])
    expected = tuple(i for i, name in enumerate(names) if parse_query(text).match(tensor(name), figures()))
    assert (found.indices, infos.looks) == (expected, looks)


def test_findings_by_rule_by_severity_and_by_whether_there_are_any() -> None:
    dtype = from_torch("float32")
    assert dtype is not None
    infos = [describe(name, (2, 2), dtype) for name in ("a", "b", "c", "d")]
    said = {
        "a": frozenset({"dead-rows", "warning", "nan", "error"}),
        "b": frozenset[str](),
        "d": frozenset({"start-values", "info"}),
    }

    def kept(text: str) -> tuple[tuple[int, ...], int]:
        matches = parse_query(text).filter(infos, said_of=said.get)
        return matches.indices, matches.unknown

    assert kept("finding:dead") == ((0,), 1)
    assert kept("finding:dead-*") == ((0,), 1)
    assert kept("finding:yes") == ((0, 3), 1)
    assert kept("finding:no") == ((1,), 1)
    assert kept("!finding:nan") == ((1, 3), 1)
    assert kept("finding!=nan") == ((1, 3), 1)
    for error in ("error", "errors", "err", "ERROR"):
        assert kept(f"finding:{error}") == ((0,), 1), error
    assert kept("finding:warn") == ((0,), 1)
    for remark in ("info", "remark", "remarks", "rem"):
        assert kept(f"finding:{remark}") == ((3,), 1), remark
    assert kept("finding:inf") == ((), 1)  # the rule, not the severity that begins so
    assert parse_query("finding:nan").needs_figures
    assert parse_query("finding:nan").match(infos[0], said=frozenset({"nan"})) is True
    assert parse_query("finding:nan").match(infos[0]) is None


@pytest.mark.parametrize("word", ["foo", "errorr", "nan-*", "deadrows"])
def test_a_finding_that_there_is_not_is_an_error_with_what_there_is(word: str) -> None:
    query = parse_query(f"x finding:{word}")
    assert [term.on_info for term in query.terms] == [None]
    (error,) = query.errors
    assert query.text[error.start : error.stop] == word
    assert error.message.startswith("no such rule; the choices are error, warning, info, nan, inf, all-zero")
    assert not error.is_unfinished


def test_every_rule_is_found_by_its_name() -> None:
    for rule in RULES:
        assert rule.id in findings_called(rule.id)


def test_which_findings_come_only_with_a_check_of_everything() -> None:
    for late in ("yes", "no", "error", "warning", "info", "std-of-kind", "size-mismatch", "kind"):
        assert parse_query(f"finding:{late}").needs_check, late
    for known in ("nan", "inf", "dead", "saturation"):
        assert not parse_query(f"finding:{known}").needs_check, known
    assert not parse_query("nan>0 attn").needs_check


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("frozen", ["frozen_one", "b"]),
        ("!frozen", ["a", "c"]),
        ("trainable", ["a", "frozen_one"]),
        ("TRAINABLE", ["a", "frozen_one"]),
        ("requires_grad:yes", ["a", "frozen_one"]),
        ("requires_grad:no", ["b", "c"]),
        ("grad:none", ["frozen_one", "b"]),
        ("grad:yes", ["a"]),
    ],
)
def test_flags_are_found_as_people_type_them(text: str, wanted: list[str]) -> None:
    flags = {"a": True, "frozen_one": True, "b": False, "c": None}
    infos = [
        msgspec.structs.replace(
            describe(name, (1,), DTYPES[0]), requires_grad=flag, kind="buffer" if flag is None else "parameter"
        )
        for name, flag in flags.items()
    ]
    found = parse_query(text).filter(infos, gradients={"a"})
    assert [infos[index].name for index in found.indices] == wanted


def test_in_a_file_the_words_are_parts_of_names() -> None:
    infos = [describe(name, (1,), DTYPES[0]) for name in ("frozen.w", "w")]
    assert parse_query("frozen").filter(infos).indices == (0,)
    assert parse_query("trainable").filter(infos) == Matches(())


def parameters(**shapes: bool) -> list[TensorInfo]:
    """Parameters, and plain tensors where it says False."""
    return [
        msgspec.structs.replace(describe(name, (2,), DTYPES[0]), kind="parameter" if is_parameter else "tensor")
        for name, is_parameter in shapes.items()
    ]


def test_a_statistic_of_the_gradient_is_asked_of_the_gradient_alone() -> None:
    infos = parameters(large=True, small=True, none=True, late=True)
    known = {"large.grad": [3.0, 4.0], "small.grad": [0.0, 0.5], "large": [0.0, 0.0], "small": [9.0, 9.0]}
    source = MemorySource({name: np.array(values, np.float32) for name, values in known.items()})
    figures = {name: source.summarize(name).figures(2) for name in known}
    gradients = {"large", "small", "late"}
    for text, wanted in (
        ("grad_norm>1", (0,)),
        ("grad_l2=5", (0,)),
        ("grad_l2_norm<1", (1,)),
        ("grad_absmax>=4", (0,)),
        ("grad_zeros>0", (1,)),
        ("!grad_norm>1", (1,)),  # what has no gradient neither passes it nor fails it
        ("grad_norm>1 norm>1", ()),
        ("norm>1", (1,)),
    ):
        found = parse_query(text).filter(infos, figures.get, gradients=gradients)
        assert found.indices == wanted, text
    query = parse_query("grad_norm>1")
    assert query.filter(infos, figures.get, gradients=gradients).unknown == 1
    assert (query.needs_figures, query.needs_gradients, query.needs_tensors) == (True, True, False)
    assert parse_query("grad_nan>0 std>1").needs_tensors
    assert not parse_query("grad:yes").needs_gradients
    assert query.match(infos[0], figures["small"]) is False
    assert query.match(infos[0], figures["small"], has_gradient=True) is None
    assert query.match(infos[0], None, has_gradient=True, gradient=figures["large.grad"]) is True


def test_what_is_no_parameter_lacks_no_gradient() -> None:
    infos = parameters(weight=True, exp_avg=False, leaf=False)
    assert parse_query("grad:none").filter(infos, gradients={"leaf"}).indices == (0,)
    assert parse_query("grad:yes").filter(infos, gradients={"leaf"}).indices == (2,)
