from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.factories_memory import MemorySource
from tui_params.core.compare.renames import Collision, Rename, parse_rename, renamed
from tui_params.core.compare.structure import structure
from tui_params.core.compare.suggestions import Suggestion, choose_renames, suggest_renames

NAMES = ["embed.weight", *(f"layers.{i}.{part}.weight" for i in range(8) for part in ("attn", "mlp")), "norm.weight"]


def listed(*names: str) -> MemorySource:
    import numpy as np

    return MemorySource({name: np.zeros(2, np.float32) for name in names})


@pytest.mark.parametrize(
    ("expression", "name", "expected"),
    [
        ("module.=", "module.a.module.b", "a.module.b"),
        ("module.=", "a.module.b", "a.module.b"),
        ("=model.", "a.b", "model.a.b"),
        ("old.=new.", "old.a", "new.a"),
        ("*w.=", "w.a.w.b.w.w.c", "a.b.c"),
        ("*w.=", "how.a", "how.a"),
        ("*a.=b\\1.", "x.a.c", "x.b\\1.c"),
        ("a=", "a", ""),
        ("gamma=weight", "norm.gamma", "norm.weight"),
        ("gamma=weight", "gamma", "weight"),
        ("gamma=weight", "gamma_1.gamma", "weight_1.gamma"),
        (".gamma=.weight", "gamma_1.gamma", "gamma_1.weight"),
        (".gamma=weight", "gamma", "weight"),
        ("gamma=weight", "norm.xgamma", "norm.xgamma"),
        ("gamma=weight", "norm.gamma.x", "norm.gamma.x"),
        ("weight_g=parametrizations.weight.original0", "0.weight_g", "0.parametrizations.weight.original0"),
        ("norm.gamma=ln.weight", "a.norm.gamma", "a.ln.weight"),
        ("gamma=", "norm.gamma", "norm"),
        ("gamma.=", "norm.gamma.", "norm.gamma."),
        (r"/\.h\.(\d+)\./=.layers.\1.", "model.h.12.w", "model.layers.12.w"),
        (r"/^(?P<first>\w+)\.(\w+)/=\2.\g<first>", "a.b.c", "b.a.c"),
        ("/GAMMA/=x", "gamma", "gamma"),
        ("/(?i)GAMMA/=x", "a.gamma", "a.x"),
        (r"/\/w/=.w", "a/w", "a.w"),
        ("/(?<=a)=/=.", "a=b", "a.b"),
        ("/x=y", "/x.w", "y.w"),
    ],
)
def test_what_a_rename_does(expression: str, name: str, expected: str) -> None:
    assert parse_rename(expression).apply(name) == expected


@pytest.mark.parametrize(
    "expression", ["module.=", "b:module.=", "*_orig_mod.=", "b:*x.=y.", "=model.", "b:=m.", "a=b=c"]
)
def test_a_rename_reads_what_it_writes(expression: str) -> None:
    assert str(parse_rename(expression)) == expression


@pytest.mark.parametrize("expression", ["module.", "", "a=a", "=", "*=x", "b:=", "b:*=x", ".=", "//=x", "b:/x/"])
def test_what_is_no_rename_is_refused_in_a_sentence(expression: str) -> None:
    with pytest.raises(ValueError, match=r"^'.*' (is not a rename|changes no name|does not say what)"):
        parse_rename(expression)


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("/(a/=b", "/(a/ cannot be used: not a regular expression: missing )"),
        ("/(a+)+b/=c", "/(a+)+b/ cannot be used: a repeat of a group with a repeat"),
        ("/(a|ab)*c/=d", "/(a|ab)*c/ cannot be used: a repeat of a group with a repeat"),
        ("/.*.*.*.*.*.*.*.*x/=", "with so many repeats"),
        (f"/{'a' * 201}/=b", "this pattern has 201 characters; at most 200"),
        (f"/a/={'b' * 201}", "the replacement has 201 characters; at most 200"),
        (r"/a/=\1", r"'\\1' cannot replace what /a/ matches: invalid group reference 1"),
        (r"/a/=\g<x>", r"'\\g<x>' cannot replace what /a/ matches"),
    ],
)
def test_an_expression_that_cannot_be_used_is_refused_in_a_sentence(expression: str, said: str) -> None:
    with pytest.raises(ValueError, match=re.escape(said)):
        parse_rename(expression)


def test_a_name_that_is_too_long_for_an_expression_is_named() -> None:
    rename = parse_rename("/^(.*)x(.*)y(.*)z/=b")
    assert rename.apply("axayaz") == "b"
    with pytest.raises(ValueError, match=r"could take too long on 'aaa.*', which has 9,000 characters: it can be used"):
        rename.apply("a" * 9000)


def test_a_name_that_would_become_too_long_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tui_params.core.compare.renames.LONGEST_NAME", 50)
    rename = parse_rename(r"/(?=(.*))/=\1\1")
    assert rename.apply("abc") == "abcabcabcbcbccc"
    with pytest.raises(ValueError, match="would make a name of more than 50 characters"):
        rename.apply("abcdefghi")


def test_an_expression_may_not_take_for_ever_over_all_names(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(0, 1000, 6))
    monkeypatch.setattr("tui_params.core.compare.renames.perf_counter", lambda: next(clock))
    assert len(renamed(["a", "b"], [], "a").called) == 2
    with pytest.raises(ValueError, match=r"^one rename takes more than 10 s over these names"):
        renamed(["a", "b"], [parse_rename("b=c")], "a")
    assert renamed(["a"], [parse_rename("/a/=c")], "a").called == {"c": "a"}
    with pytest.raises(ValueError, match=r"^/a/=c takes more than 10 s over these names"):
        renamed(["a", "b", "c"], [parse_rename("/a/=c")], "a")


@given(
    st.lists(st.text("ab.*:=", max_size=8), unique=True, max_size=12),
    st.builds(Rename, st.text("ab.", max_size=4), st.text("ab.", max_size=4), st.sampled_from("ab")),
)
@settings(max_examples=100)
def test_no_name_is_lost_in_a_random_rename(names: list[str], rename: Rename) -> None:
    for side in ("a", "b"):
        renaming = renamed(names, [rename], side)
        lost = [collision.name for collision in renaming.collisions]
        assert sorted([*renaming.called.values(), *lost]) == sorted(names)
        assert all(renaming.called[item.called] == item.taken_by for item in renaming.collisions)
        assert (rename in renaming.unused) == (
            side == rename.side and all(rename.apply(name) == name for name in names)
        )


def test_a_renamed_tensor_takes_the_name_from_the_one_that_has_it() -> None:
    renaming = renamed(["layers.0.w", "layers.1.w"], [parse_rename("layers.0.=layers.1.")], "a")
    assert renaming.called == {"layers.1.w": "layers.0.w"}
    assert renaming.collisions == (Collision("a", "layers.1.w", "layers.1.w", "layers.0.w"),)
    laid = structure(listed("layers.0.w", "layers.1.w"), listed("layers.1.w"), renames=["layers.0.=layers.1."])
    assert [(pair.a.name, pair.b.name) for pair in laid.pairs] == [("layers.0.w", "layers.1.w")]
    assert laid.only_in_a == ("layers.1.w",)
    assert laid.collisions == renaming.collisions


def test_renames_that_collide_are_told_and_suggest_no_names_that_do_not_exist() -> None:
    names = [f"h.{i}.{half}.w" for i in range(4) for half in ("x", "y")]
    laid = structure(listed(*names), listed(*(f"h.{i}.w" for i in range(4))), renames=[r"/\.[xy]\./=."])
    assert [pair.name for pair in laid.pairs] == [f"h.{i}.x.w" for i in range(4)]
    assert laid.only_in_a == tuple(f"h.{i}.y.w" for i in range(4))
    assert laid.collisions == tuple(Collision("a", f"h.{i}.y.w", f"h.{i}.w", f"h.{i}.x.w") for i in range(4))
    assert (laid.suggested, laid.unused) == ((), ())
    other = structure(listed(*names), listed("h.0.w", "g.1.w"), renames=[r"/\.[xy]\./=.", "k.=l.", "b:m.=n."])
    assert [str(rename) for rename in other.unused] == ["k.=l.", "b:m.=n."]
    assert all("\0" not in str(rename) for item in other.suggested for rename in item.renames)


def test_the_renames_that_are_chosen_may_collide_too() -> None:
    laid = structure(listed("module.x.w", "module.module.x.w"), listed("x.w"), renames=["b:x.=y."], auto_rename=True)
    assert {*laid.only_in_a, *(pair.name for pair in laid.pairs)} == {"module.x.w", "module.module.x.w"}


def test_no_rename_with_a_control_character_is_suggested() -> None:
    assert suggest_renames(["a\0.x.w"], ["x.w"]) == ()
    assert suggest_renames(["a.x.w"], ["x.w"])[0].matches == 1


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        (lambda n: f"module.{n}", lambda n: n, ["module.="]),
        (lambda n: n, lambda n: f"module.{n}", ["b:module.="]),
        (lambda n: f"_orig_mod.module.{n}", lambda n: n, ["_orig_mod.module.="]),
        (lambda n: f"base_model.model.{n}", lambda n: n, ["base_model.model.="]),
        (lambda n: f"state_dict.model.{n}", lambda n: n, ["state_dict.model.="]),
        (lambda n: f"transformer.{n}", lambda n: n, ["transformer.="]),
        (lambda n: f"module.{n}", lambda n: f"model.{n}", ["module.=", "b:model.="]),
        (lambda n: f"model.model.{n}", lambda n: f"model.{n}", ["model.="]),
        (
            lambda n: n.replace("attn", "_fsdp_wrapped_module.attn"),
            lambda n: n,
            ["*_fsdp_wrapped_module.="],
        ),
        (
            lambda n: "_fsdp_wrapped_module." + n.replace("mlp", "_fsdp_wrapped_module._checkpoint_wrapped_module.mlp"),
            lambda n: n,
            ["*_fsdp_wrapped_module.=", "*_checkpoint_wrapped_module.="],
        ),
        (
            lambda n: "module." + n.replace("attn", "_orig_mod.attn"),
            lambda n: n,
            ["*_orig_mod.=", "module.="],
        ),
    ],
)
def test_wrappers_are_recognised(a: Callable[[str], str], b: Callable[[str], str], expected: list[str]) -> None:
    names_a, names_b = [a(name) for name in NAMES], [b(name) for name in NAMES]
    left_a = [name for name in names_a if name not in set(names_b)]
    left_b = [name for name in names_b if name not in set(names_a)]
    best = suggest_renames(left_a, left_b)[0]
    assert ([str(rename) for rename in best.renames], best.matches) == (expected, len(left_a))
    laid = structure(listed(*names_a), listed(*names_b), auto_rename=True)
    assert len(laid.pairs) == len(NAMES)
    assert (laid.only_in_a, laid.only_in_b, laid.suggested) == ((), (), ())
    assert [str(rename) for rename in laid.applied] == expected


def test_suggestions_are_ranked_and_not_applied_unasked() -> None:
    names_a = [f"module.{name}" for name in NAMES[:10]] + [f"ema.{name}" for name in NAMES]
    laid = structure(listed(*names_a), listed(*NAMES))
    assert not laid.pairs
    assert laid.applied == ()
    assert [(str(item.renames[0]), item.matches) for item in laid.suggested] == [("ema.=", 18), ("module.=", 10)]


def test_names_without_likeness_suggest_nothing() -> None:
    assert suggest_renames(["a.b", "c"], ["d.e", "f"]) == ()
    assert suggest_renames([], ["a"]) == suggest_renames(["a"], []) == ()
    assert choose_renames(["a.b"], ["c"]) == ()


def test_renames_of_several_parts_are_found_one_after_the_other() -> None:
    names_a = [f"policy.{name}" for name in NAMES] + [f"module.critic.{name}" for name in NAMES[:5]]
    names_b = [*NAMES, *(f"critic.{name}" for name in NAMES[:5])]
    chosen = choose_renames(names_a, names_b)
    assert [str(rename) for rename in chosen] == ["policy.=", "module.="]
    laid = structure(listed(*names_a), listed(*names_b), auto_rename=True)
    assert len(laid.pairs) == len(names_b)


def test_many_names_are_no_trouble() -> None:
    names = [f"layers.{i}.experts.{j}.weight" for i in range(40) for j in range(256)]
    assert suggest_renames([f"_orig_mod.{name}" for name in names], names)[0] == Suggestion(
        (Rename("_orig_mod.", ""),), len(names)
    )


def test_structure_reads_no_value() -> None:
    import numpy as np

    a = MemorySource({"x": np.zeros(3), "y": np.zeros(2), "z": np.zeros(1)}, broken={"x": "not to be read"})
    b = MemorySource({"x": np.zeros(3), "y": np.zeros((2, 1)), "w": np.zeros(1)}, broken={"x": "not to be read"})
    laid = structure(a, b)
    assert [pair.has_same_shape for pair in laid.pairs] == [True, False]
    assert (laid.only_in_a, laid.only_in_b, laid.is_same) == (("z",), ("w",), False)
    assert structure(a, a).is_same
    assert not a.windows


def test_a_buffer_that_is_not_saved_counts_among_the_matches_and_makes_no_difference() -> None:
    import msgspec

    names = ["embed.weight", "embed.ids"]
    live = listed(*(f"_orig_mod.{name}" for name in names))
    weight, ids = live.listing.tensors
    ids = msgspec.structs.replace(ids, notes=("not saved in the state dict",))
    live.listing = msgspec.structs.replace(live.listing, tensors=(weight, ids))
    laid = structure(listed(*names), live)
    assert ([item.name for item in laid.implied], laid.only_in_b) == ([ids.name], (weight.name,))
    assert [(str(item.renames[0]), item.matches) for item in laid.suggested] == [("b:_orig_mod.=", 2)]
    assert len(structure(listed(*names), live, renames=["b:_orig_mod.="]).pairs) == 2
    assert structure(listed("embed.weight"), live, auto_rename=True).only_in_b == ()


def test_names_of_llama_cpp_are_called_as_transformers_calls_them() -> None:
    parts = {
        "attn_norm": "input_layernorm", "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj",
        "attn_v": "self_attn.v_proj", "attn_output": "self_attn.o_proj", "attn_q_norm": "self_attn.q_norm",
        "attn_k_norm": "self_attn.k_norm", "ffn_norm": "post_attention_layernorm", "ffn_gate": "mlp.gate_proj",
        "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj",
    }  # fmt: skip
    called = {
        f"blk.{n}.{old}.weight": f"model.layers.{n}.{new}.weight" for n in range(11) for old, new in parts.items()
    }
    called |= {"blk.3.attn_q.bias": "model.layers.3.self_attn.q_proj.bias", "output.weight": "lm_head.weight"}
    called |= {"token_embd.weight": "model.embed_tokens.weight", "output_norm.weight": "model.norm.weight"}
    for a, b in ((list(called), list(called.values())), (list(called.values()), list(called))):
        best = suggest_renames(a, b)[0]
        assert best.matches == len(called)
        assert choose_renames(a, b) == best.renames
    # Only what changes a name, and nothing where no name is one of llama.cpp.
    (few,) = suggest_renames(["blk.0.ffn_up.weight"], ["model.layers.0.mlp.up_proj.weight"])
    assert [str(rename) for rename in few.renames] == ["blk.=model.layers.", "*ffn_up.=mlp.up_proj."]
    assert suggest_renames(["output.weight"], ["lm_head.weight"]) == ()
