"""The texts of tokens, from ``tokenizer.json``, ``vocab.json`` or ``vocab.txt`` beside a checkpoint: JSON or text.

``tokenizer.json`` is that of the library tokenizers; the ids are those that it gives the tokens (measured with 0.23).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from tui_params.core.text import size
from tui_params.core.vocabulary import MAX_TEXT, Vocabulary, has_all_bytes, numbered, unshifted
from tui_params.errors import OpenError, ReadError
from tui_params.sources.bytes.local import opened, read_bytes

MAX_NBYTES = 64 << 20
"""A larger file is not read; the largest of known models have 35 MB."""

MAX_TOKENS = 1 << 21
"""Numbers of tokens that are taken in."""

FILES = ("tokenizer.json", "vocab.json", "vocab.txt")
"""In the order in which they are looked for."""


class _Added(msgspec.Struct):
    content: str


class _Model(msgspec.Struct):
    vocab: msgspec.Raw


class _Tokenizer(msgspec.Struct):
    """The parts of ``tokenizer.json`` that are looked at; all others are passed over."""

    model: _Model
    added_tokens: msgspec.Raw = msgspec.Raw(b"[]")
    pre_tokenizer: msgspec.Raw = msgspec.Raw(b"null")
    decoder: msgspec.Raw = msgspec.Raw(b"null")


def read_vocabulary(folder: Path, most: int = MAX_NBYTES) -> Vocabulary | None:
    """The tokens of the tokenizer in a folder; None if there is none.

    A file of more than ``most`` bytes, of a folder elsewhere, is passed over for a smaller one. Raises ReadError, one
    sentence that names the file, for one that is too large or not what it should be.
    """
    large = ""
    for name in FILES:
        try:
            with opened(folder / name) as (descriptor, file):
                if file.size > MAX_NBYTES:
                    raise ReadError(f"{name} has {size(file.size)}, more than is read of it ({size(MAX_NBYTES)})")
                if file.size > most:
                    large = large or f"{name} has {size(file.size)}, more than is fetched by itself ({size(most)})"
                    continue
                content = read_bytes(descriptor, 0, file.size)
        except OpenError:
            continue
        except OSError as error:
            raise ReadError(f"{name} cannot be read: {error.strerror or error}") from None
        return _parsed(name, content)
    if large:
        raise ReadError(large)
    return None


def _parsed(name: str, content: bytes) -> Vocabulary:
    try:
        if name == "vocab.txt":
            lines = content.decode("utf-8", "replace").split("\n", MAX_TOKENS)
            if lines and not lines[-1]:
                lines.pop()
            texts: tuple[str | None, ...] = tuple([line.rstrip("\r")[:MAX_TEXT] for line in lines[:MAX_TOKENS]])
        elif name == "vocab.json":
            vocab = _decoded(content, dict[str, int])
            texts = _texts(vocab, [], is_by_bytes=has_all_bytes(vocab))
        else:
            found = msgspec.json.decode(content, type=_Tokenizer)
            listed = _decoded(found.model.vocab, dict[str, int] | list[tuple[str, float]])
            vocab = listed if isinstance(listed, dict) else {text: place for place, (text, _) in enumerate(listed)}
            count = len(listed)
            is_by_bytes = any(_is_by_bytes(_decoded(part, object)) for part in (found.pre_tokenizer, found.decoder))
            added = _added(_decoded(found.added_tokens, list[_Added]), vocab, count)
            texts = _texts(vocab, added, is_by_bytes=is_by_bytes)
    except RecursionError:
        raise ReadError(f"{name} is nested too deeply to be read") from None
    except MemoryError:
        raise ReadError(f"there is not enough memory to read {name}") from None
    except (msgspec.MsgspecError, UnicodeError, ValueError) as error:
        raise ReadError(f"{name} is not the file of a tokenizer: {str(error)[:120]}") from None
    if not texts:
        raise ReadError(f"{name} has no token")
    return Vocabulary(name, texts)


def _decoded(raw: bytes | msgspec.Raw, kind: Any) -> Any:
    """A part of a file as Python objects, if it has no more of them than a tokenizer has."""
    content = bytes(raw)
    if content.count(b",") > MAX_TOKENS:
        raise ValueError(f"it has more than {MAX_TOKENS:,} entries")
    return msgspec.json.decode(content, type=kind)


def _added(added: list[_Added], vocab: dict[str, int], count: int) -> list[tuple[int, str]]:
    """The tokens that are not in the vocabulary, with their numbers: on from its size, whatever the file says."""
    seen = set()
    found: list[tuple[int, str]] = []
    for token in added:
        if token.content and token.content not in vocab and token.content not in seen:
            seen.add(token.content)
            found.append((count + len(found), token.content))
    return found


def _texts(vocab: dict[str, int], added: list[tuple[int, str]], *, is_by_bytes: bool) -> tuple[str | None, ...]:
    texts = {number: unshifted(text) if is_by_bytes else text for text, number in vocab.items()}
    return numbered(texts | dict(added), MAX_TOKENS)


def _is_by_bytes(part: Any, depth: int = 0) -> bool:
    """Whether a part of a tokenizer, or one of those that it is a sequence of, is called ByteLevel."""
    if not isinstance(part, dict) or depth > 4:
        return False
    if part.get("type") == "ByteLevel":
        return True
    inner = [each for key in ("pretokenizers", "decoders") for each in (part.get(key) or ()) if isinstance(each, dict)]
    return any(_is_by_bytes(each, depth + 1) for each in inner)
