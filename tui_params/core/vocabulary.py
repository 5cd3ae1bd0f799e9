"""Vocabulary: the text of each token of a tokenizer, by its number: the row of an embedding that stands for it."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from tui_params.core.channels import is_embedding_name
from tui_params.core.tensor import TensorInfo

MAX_TEXT = 200
"""Characters of a token that are kept."""

_PLACES = ("position", "pos_emb", "wpe", "token_type", "segment", "patch")
"""Parts of the names of embeddings whose rows are no tokens."""


class Vocabulary(msgspec.Struct, frozen=True, gc=False):
    """The tokens of one tokenizer. ``texts`` are by number; None where no token has the number.

    ``file`` is the name of the file that they were read from. The texts are as the file has them, but for those of
    byte-level tokenizers, which are the bytes that they stand for, as UTF-8, others as ``\\xe4``.
    """

    file: str
    texts: tuple[str | None, ...]

    @property
    def size(self) -> int:
        return len(self.texts)

    def text(self, row: int) -> str | None:
        """The text of a row; None for one without a token."""
        return self.texts[row] if 0 <= row < len(self.texts) else None


def may_be_tokens(info: TensorInfo) -> bool:
    """Whether the rows of a tensor may stand for tokens, by its name: an embedding or an output layer."""
    name = info.name.lower()
    return info.ndim == 2 and is_embedding_name(info.name) and not any(part in name for part in _PLACES)


def numbered(texts: Mapping[int, str], most: int) -> tuple[str | None, ...]:
    """The texts by number, from 0 to the largest number below ``most``."""
    size = max((number + 1 for number in texts if 0 <= number < most), default=0)
    found: list[str | None] = [None] * size
    for number, text in texts.items():
        if 0 <= number < size:
            found[number] = text[:MAX_TEXT]
    return tuple(found)


def unshifted(token: str) -> str:
    """The text of a token of a byte-level tokenizer, which has a character for each byte.

    Bytes that are no UTF-8 are written as ``\\xe4``. A token with another character is left as it is.
    """
    try:
        raw = bytes([_BYTES[letter] for letter in token])
    except KeyError:
        return token
    return raw.decode("utf-8", "backslashreplace")


def has_all_bytes(tokens: Mapping[str, int]) -> bool:
    """Whether each byte has a token of its own, as in every byte-level vocabulary (and in hardly any other)."""
    return all(letter in tokens for letter in _BYTES)


def _shifted_bytes() -> dict[str, int]:
    """The character of each byte: itself if it can be printed, else one from U+0100 on (GPT-2's bytes_to_unicode)."""
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(0x100 + place): byte for place, byte in enumerate(others)}


_BYTES = _shifted_bytes()
