"""The files of tokenizers, as the libraries write them, damaged and hostile ones.

The numbers of tokens were compared with tokenizers 0.23.3 on models of each kind, trained and released ones.
"""

from __future__ import annotations

import json
import random
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.core.test_vocabulary import bytes_to_unicode
from tui_params.errors import ReadError
from tui_params.sources import vocabulary as module
from tui_params.sources.vocabulary import read_vocabulary


def write(folder: Path, name: str, content: Any) -> Path:
    (folder / name).write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return folder


def texts(folder: Path) -> tuple[str | None, ...]:
    found = read_vocabulary(folder)
    assert found is not None
    return found.texts


def test_a_folder_without_a_tokenizer(tmp_path: Path) -> None:
    assert read_vocabulary(tmp_path) is None
    (tmp_path / "tokenizer.json").mkdir()
    assert read_vocabulary(tmp_path) is None


def test_vocab_txt_has_a_token_a_line(tmp_path: Path) -> None:
    write(tmp_path, "vocab.txt", "[PAD]\r\nthe\n\n##ing\n")
    assert texts(tmp_path) == ("[PAD]", "the", "", "##ing")
    write(tmp_path, "vocab.txt", "a\nb")
    assert texts(tmp_path) == ("a", "b")


def test_vocab_json_is_by_bytes_if_it_has_all_of_them(tmp_path: Path) -> None:
    letters = bytes_to_unicode()
    vocab = {letter: byte for byte, letter in letters.items()} | {"Ġthe": 256, "Ã¤": 257}
    assert texts(write(tmp_path, "vocab.json", vocab))[256:] == (" the", "ä")
    assert texts(write(tmp_path, "vocab.json", {"Ġthe": 0, "a": 2})) == ("Ġthe", None, "a")


def test_tokenizer_json_comes_first(tmp_path: Path) -> None:
    write(tmp_path, "vocab.txt", "other")
    model = {"type": "WordPiece", "vocab": {"[UNK]": 0, "a": 1}}
    assert texts(write(tmp_path, "tokenizer.json", {"version": "1.0", "model": model})) == ("[UNK]", "a")


def test_unigram_numbers_by_place(tmp_path: Path) -> None:
    model = {"type": "Unigram", "unk_id": 0, "vocab": [["<unk>", 0.0], ["▁the", -2.5]]}
    assert texts(write(tmp_path, "tokenizer.json", {"model": model})) == ("<unk>", "▁the")


def test_added_tokens_count_on_whatever_their_ids_say(tmp_path: Path) -> None:
    added = [
        {"id": 7, "content": "a", "special": True},
        {"id": 0, "content": "<x>", "special": False},
        {"id": 900, "content": "<y>"},
        {"id": 901, "content": "<x>"},
    ]
    content = {"model": {"vocab": {"a": 0, "b": 5}}, "added_tokens": added}
    assert texts(write(tmp_path, "tokenizer.json", content)) == ("a", None, "<x>", "<y>", None, "b")


@pytest.mark.parametrize(
    "where",
    [
        {"pre_tokenizer": {"type": "ByteLevel"}},
        {"pre_tokenizer": {"type": "Sequence", "pretokenizers": [{"type": "Split"}, {"type": "ByteLevel"}]}},
        {"decoder": {"type": "ByteLevel"}},
        {"decoder": {"type": "Sequence", "decoders": [{"type": "ByteLevel"}]}},
    ],
)
def test_a_byte_level_tokenizer_says_so(tmp_path: Path, where: dict[str, Any]) -> None:
    content = {"model": {"vocab": {"Ġa": 0}}, "added_tokens": [{"content": "Ġ"}], **where}
    assert texts(write(tmp_path, "tokenizer.json", content)) == (" a", "Ġ")
    content = {"model": {"vocab": {"Ġa": 0}}, "pre_tokenizer": {"type": "Whitespace"}}
    assert texts(write(tmp_path, "tokenizer.json", content)) == ("Ġa",)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "Input data was truncated"),
        ("[1", "is not the file of a tokenizer"),
        ("{}", "is not the file of a tokenizer"),
        ('{"model": {"vocab": {"a": "b"}}}', "is not the file of a tokenizer"),
        ('{"model": {"vocab": {"a": 1e400}}}', "is not the file of a tokenizer"),
        ('{"model": {"vocab": {}}}', "has no token"),
        ('{"model": {"vocab": {"a": -5}}}', "has no token"),
        ('{"model": {"vocab": ' + "[" * 100_000, "is nested too deeply"),
        ('{"model": {"vocab": {"a": 0}}, "decoder": ' + '{"decoders": [' * 90_000, "is nested too deeply"),
    ],
)
def test_what_is_no_tokenizer_is_one_sentence(tmp_path: Path, content: str, reason: str) -> None:
    with pytest.raises(ReadError, match=reason) as error:
        read_vocabulary(write(tmp_path, "tokenizer.json", content))
    assert str(error.value).startswith("tokenizer.json ")
    assert "\n" not in str(error.value)


def test_nested_parts_that_are_complete_do_no_harm(tmp_path: Path) -> None:
    nested: Any = {"type": "Sequence", "decoders": []}
    for _ in range(200):
        nested = {"type": "Sequence", "decoders": [nested, 3, None]}
    content = {"model": {"vocab": {"a": 0}}, "decoder": nested, "pre_tokenizer": [1, {"x": "y"}]}
    assert texts(write(tmp_path, "tokenizer.json", content)) == ("a",)


def test_a_huge_file_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_NBYTES", 1000)
    with pytest.raises(ReadError, match=r"vocab.txt has 1.95 KiB, more than is read of it \(1000 B\)"):
        read_vocabulary(write(tmp_path, "vocab.txt", "x" * 2000))


def test_of_a_folder_elsewhere_a_smaller_file_is_taken(tmp_path: Path) -> None:
    write(tmp_path, "tokenizer.json", "x" * 2000)
    with pytest.raises(ReadError, match=r"^tokenizer.json has 1.95 KiB, more than is fetched by itself \(1000 B\)$"):
        read_vocabulary(tmp_path, 1000)
    found = read_vocabulary(write(tmp_path, "vocab.txt", "the\na\n"), 1000)
    assert found is not None
    assert found.texts == ("the", "a")


def test_a_number_of_tokens_beyond_all_reason_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_TOKENS", 10)
    content = {"model": {"vocab": {f"t{number}": number for number in range(20)}}}
    with pytest.raises(ReadError, match="more than 10 entries"):
        read_vocabulary(write(tmp_path, "tokenizer.json", content))
    (tmp_path / "tokenizer.json").unlink()
    assert len(texts(write(tmp_path, "vocab.txt", "x\n" * 50))) == 10


def test_damaged_files_give_our_errors_only(tmp_path: Path) -> None:
    draw = random.Random(0)
    model = {"type": "BPE", "vocab": {f"t{number}": number for number in range(12)}, "merges": [["a", "b"]]}
    whole = json.dumps({"model": model, "added_tokens": [{"id": 1, "content": "x"}], "decoder": {"type": "ByteLevel"}})
    for _ in range(400):
        content = bytearray(whole.encode()[: draw.randrange(1, len(whole))] if draw.random() < 0.3 else whole.encode())
        for _ in range(draw.randrange(4)):
            content[draw.randrange(len(content))] = draw.randrange(256)
        (tmp_path / "tokenizer.json").write_bytes(content)
        with suppress(ReadError):
            read_vocabulary(tmp_path)
