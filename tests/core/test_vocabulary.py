"""The texts of tokens: bytes that were shifted, numbers, which tensors have tokens."""

from __future__ import annotations

import pytest

from tui_params.core.dtypes import from_torch
from tui_params.core.tensor import describe
from tui_params.core.vocabulary import MAX_TEXT, Vocabulary, has_all_bytes, may_be_tokens, numbered, unshifted


def bytes_to_unicode() -> dict[int, str]:
    """As GPT-2's encoder has it (openai/gpt-2, src/encoder.py)."""
    kept = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    letters = dict(zip(kept, map(chr, kept), strict=True))
    for byte in range(256):
        if byte not in letters:
            letters[byte] = chr(256 + len(letters) - len(kept))
    return letters


def test_every_byte_and_texts_of_several() -> None:
    letters = bytes_to_unicode()
    assert sum(ord(letter) > 255 for letter in letters.values()) == 68
    for text in ("the", " the", "ä", "日本", "\n\t", "a b"):
        assert unshifted("".join(letters[byte] for byte in text.encode())) == text
    assert unshifted(letters[0xE4]) == "\\xe4"
    assert unshifted("▁the") == "▁the"
    assert has_all_bytes({letter: byte for byte, letter in letters.items()})
    assert not has_all_bytes({"a": 0})


def test_numbers_that_no_row_can_have_are_left_out() -> None:
    assert numbered({0: "a", 2: "c", -1: "x", 10: "far"}, 5) == ("a", None, "c")
    assert numbered({}, 5) == ()
    assert numbered({0: "x" * 10_000}, 5) == ("x" * MAX_TEXT,)
    found = Vocabulary("vocab.txt", ("a", None))
    assert [found.text(row) for row in (-1, 0, 1, 2)] == [None, "a", None, None]


@pytest.mark.parametrize(
    ("name", "shape", "is_one"),
    [
        ("model.embed_tokens.weight", (10, 4), True),
        ("lm_head.weight", (10, 4), True),
        ("transformer.wte.weight", (10, 4), True),
        ("transformer.wpe.weight", (10, 4), False),
        ("embeddings.position_embeddings.weight", (10, 4), False),
        ("embeddings.token_type_embeddings.weight", (2, 4), False),
        ("model.layers.0.mlp.up_proj.weight", (10, 4), False),
        ("model.embed_tokens.weight", (10,), False),
    ],
)
def test_which_tensors_have_a_row_for_each_token(name: str, shape: tuple[int, ...], is_one: bool) -> None:
    dtype = from_torch("float32")
    assert dtype is not None
    assert may_be_tokens(describe(name, shape, dtype)) == is_one
