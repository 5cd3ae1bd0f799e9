"""The small JSON files beside weights: their objects, and what is wrong with those that cannot be read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec

from tui_params.core.findings import Finding
from tui_params.core.text import exact_size
from tui_params.errors import OpenError
from tui_params.sources.bytes.files import is_there
from tui_params.sources.bytes.local import opened, read_bytes

ADAPTER_CONFIG = "adapter_config.json"

_MAX_NBYTES = 4 * 1024 * 1024
_MAPPING, _LIST = "{}", "[]"
_FILES = {"config.json": _MAPPING, ADAPTER_CONFIG: _MAPPING, "model_index.json": _MAPPING, "modules.json": _LIST}
"""The files that are read beside weights, and what each must hold."""


class UnusableError(Exception):
    """A JSON file that is there and cannot be used; its text is why, one sentence."""


def read_json_object(path: Path) -> dict[str, Any]:
    """The JSON object in a small file; empty if there is none, or none that can be read (``config_findings``)."""
    try:
        found = _read(path)
    except UnusableError:
        return {}
    return found if isinstance(found, dict) else {}


def config_findings(folder: Path) -> tuple[Finding, ...]:
    """What is wrong with the JSON files of a folder that say what its weights are."""
    found = []
    for name, form in _FILES.items():
        if not is_there(folder / name):
            continue
        try:
            fault = _fault(name, form, _read(folder / name))
        except UnusableError as error:
            fault = str(error)
        if fault is not None:
            found.append(Finding("error", "bad-config", None, fault, file=name))
    return tuple(found)


def _fault(name: str, form: str, found: Any) -> str | None:
    if form == _MAPPING and not isinstance(found, dict):
        return "it holds no JSON object"
    if form == _LIST and not isinstance(found, list):
        return "it holds no JSON list"
    return "it says nothing" if name == ADAPTER_CONFIG and not found else None


def _read(path: Path) -> Any:
    try:
        with opened(path) as (descriptor, file):
            if file.size > _MAX_NBYTES:
                raise UnusableError(f"it is not read: it has {exact_size(file.size)}, and no file of its kind so many")
            data = read_bytes(descriptor, 0, file.size)
    except OpenError as error:
        raise UnusableError(str(error)) from None
    if not data:
        raise UnusableError("it is empty (0 bytes)")
    try:
        return msgspec.json.decode(data)
    except (msgspec.MsgspecError, RecursionError, ValueError):
        pass
    try:
        # NaN is no JSON; Python writes it, and its own reader, which the libraries use, takes it.
        return json.loads(data.decode())
    except (RecursionError, ValueError) as error:
        where = f": {error}" if isinstance(error, json.JSONDecodeError) else ""
        raise UnusableError(f"it is no JSON{where}") from None
