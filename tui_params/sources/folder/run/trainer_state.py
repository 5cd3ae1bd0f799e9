"""``trainer_state.json``: how far a run of the Trainer is (transformers/trainer_callback.py, TrainerState)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from tui_params.core.findings import Finding
from tui_params.core.text import shorten, size
from tui_params.errors import OpenError
from tui_params.sources.bytes.local import opened, read_bytes
from tui_params.sources.folder.run.members import TRAINER_STATE

MAX_NBYTES = 64 << 20
"""A state of 100,000 logged steps has about 20 MB."""

_PREFIX = "trainer_state"
_TOO_LARGE = "not read: it has "
_FIRST = ("global_step", "epoch", "best_metric")
_LOGGED = ("loss", "eval_loss", "grad_norm", "learning_rate")
_REST = (
    "max_steps", "num_train_epochs", "best_global_step", "best_model_checkpoint", "train_batch_size", "save_steps",
)  # fmt: skip


class _State(msgspec.Struct):
    """The part of the file that is shown; the rest is skipped without being kept."""

    global_step: Any = None
    max_steps: Any = None
    epoch: Any = None
    num_train_epochs: Any = None
    best_metric: Any = None
    best_global_step: Any = None
    best_model_checkpoint: Any = None
    train_batch_size: Any = None
    save_steps: Any = None
    log_history: list[dict[str, Any]] = []


def read_trainer_state(folder: Path) -> dict[str, str]:
    """The step, the epoch, the last losses and the best metric, as metadata; empty if there is no such file."""
    try:
        with opened(folder / TRAINER_STATE) as (descriptor, file):
            if file.size > MAX_NBYTES:
                return {_PREFIX: f"{_TOO_LARGE}{size(file.size)}"}
            text = read_bytes(descriptor, 0, file.size)
        if not text:
            return {_PREFIX: "it is empty (0 bytes)"}
    except OpenError as error:
        return {} if "no such file" in str(error) else {_PREFIX: str(error)}
    try:
        state = _decode(text)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return {_PREFIX: "it is damaged: no JSON object of a Trainer"}
    found = _facts(state, _FIRST)
    for key in _LOGGED:
        entry = next((entry for entry in reversed(state.log_history) if key in entry), None)
        if entry is not None:
            step = entry.get("step")
            at = f" at step {step:,}" if isinstance(step, int) else ""
            found[f"{_PREFIX}.last_{key}"] = f"{_text(entry[key])}{at}"
    return found | _facts(state, _REST)


def state_findings(facts: Mapping[str, str]) -> tuple[Finding, ...]:
    """The finding about a file that is there and could not be read; ``facts`` are what was read."""
    fault = facts.get(_PREFIX)
    if fault is None:
        return ()
    return (
        Finding("info" if fault.startswith(_TOO_LARGE) else "error", "bad-config", None, fault, file=TRAINER_STATE),
    )


def _facts(state: _State, keys: Iterable[str]) -> dict[str, str]:
    return {f"{_PREFIX}.{key}": _text(getattr(state, key)) for key in keys if getattr(state, key) is not None}


def _decode(text: bytes) -> _State:
    try:
        return msgspec.json.decode(text, type=_State)
    except msgspec.DecodeError:
        # Python writes a loss that is NaN as NaN, which is no JSON; its own reader takes it.
        return msgspec.convert(json.loads(text), type=_State)


def _text(value: Any) -> str:
    return shorten(value if isinstance(value, str) else json.dumps(value), 200)
