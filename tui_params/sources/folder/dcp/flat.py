"""Flat parameters of FSDP1: what can be said of a checkpoint that has them instead of the model's own parameters.

torch/distributed/fsdp/_state_dict_utils.py, LOCAL_STATE_DICT: ``_flat_param`` is one dimension of all parameters of a
module, one after the other, in pieces by rank. Their names and shapes are not in the checkpoint. With use_orig_params
the parameters stand beside it by name, each with the elements that one of the ranks had; those of the others are lost.
"""

from __future__ import annotations

from collections.abc import Mapping

from tui_params.core.text import clean

FLAT = "_flat_param"
FLAT_NOTE = "flat parameter of FSDP: the parameters of a module in one, whose names and shapes are not stored"


def flat_notes(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, str]:
    """A note for each flat parameter, and for each tensor that may be a local part of one, by name."""
    prefixes = {name[: -len(FLAT)] for name, shape in shapes.items() if _is_flat(name) and len(shape) == 1}
    if not prefixes:
        return {}
    found: dict[str, str] = {}
    for name, shape in shapes.items():
        if _is_flat(name):
            found[name] = FLAT_NOTE
        elif len(shape) == 1:
            prefix = _prefix_of(name, prefixes)
            if prefix is not None:
                whole = clean(f"{prefix}{FLAT}", 120)
                found[name] = f"FSDP: may be the flat part of it that one rank had, see {whole}, which has all elements"
    return found


def _is_flat(name: str) -> bool:
    return name.rpartition(".")[2] == FLAT


def _prefix_of(name: str, prefixes: set[str]) -> str | None:
    """The longest of the prefixes, each empty or with a dot at its end, with which ``name`` begins."""
    while name:
        name = name[: name.rfind(".", 0, len(name) - 1) + 1]
        if name in prefixes:
            return name
    return None
