"""Pipelines of several models in one tree: those of diffusers (``model_index.json``) and of sentence-transformers.

``model_index.json`` has the library and the class of each component by the name of its subfolder
(diffusers/pipelines/pipeline_utils.py, ``save_pretrained``); ``modules.json`` has the modules in their order, each with
its path, which is empty for the one that lies in the folder itself (sentence_transformers/SentenceTransformer.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from tui_params.core.findings import Finding
from tui_params.core.source import Hidden, Source
from tui_params.core.text import clean, listed
from tui_params.errors import OpenError
from tui_params.sources.bytes import far
from tui_params.sources.bytes.files import is_file, is_there
from tui_params.sources.bytes.local import opened, read_bytes
from tui_params.sources.folder.composite import CompositeSource, Part, combine
from tui_params.sources.folder.folder import (
    Formats,
    check_refusal,
    file_names,
    folders_beside,
    has_model,
    open_folder,
)
from tui_params.sources.folder.shard_index import folder_label

MODEL_INDEX, MODULES = "model_index.json", "modules.json"
_MAX_NBYTES = 1 << 20
_MAX_COMPONENTS = 100
_SHOWN = 4

_WITHOUT_WEIGHTS = ("Tokenizer", "TokenizerFast", "Scheduler", "Processor", "Extractor", "Pooling", "Normalize")
"""The ends of the names of classes that keep no tensors."""


_ELSEWHERE = (".msgpack", ".h5", ".tflite", ".pb", ".xml")
"""The suffixes of weights for other frameworks."""


class Component(msgspec.Struct, frozen=True):
    """One member of a pipeline: the subfolder that it is in (empty: the folder itself), and the name of its class."""

    folder: str
    cls: str


def is_pipeline(path: Path) -> bool:
    """Whether a folder has a list of the models of a pipeline."""
    return bool(_components(path))


def open_pipeline(path: Path, formats: Formats) -> Source:
    """All models of a pipeline, each below the name of its subfolder. Raises OpenError if none can be opened."""
    check_refusal(path, formats)
    components = _components(path)
    if not components:
        shown = clean(far.shown(path), 200)
        raise OpenError(f"{shown} is no pipeline: it has neither {MODEL_INDEX} nor {MODULES} with members")
    taken = {f"{component.folder}/" for component in components}
    parts: list[Part] = []
    findings: list[Finding] = []
    hidden: list[Hidden] = []
    not_opened: list[str] = []
    for component in components:
        part = _open(path, component, formats, taken, findings, hidden, not_opened)
        if part is not None:
            parts.append(part)
    if not parts and has_model(file_names(path), formats):
        # The whole pipeline in one file, or something else than the list says.
        parts.append(Part(open_folder(path, formats)))
    if not parts:
        raise OpenError(
            findings[0].evidence if findings else f"the pipeline {clean(far.shown(path), 200)} holds no tensor file"
        )
    is_one = not is_file(path / MODEL_INDEX)
    listing = combine(_describe(path, parts, is_one=is_one), parts, findings)
    if is_one:
        # The modules of sentence-transformers are one model, and its numbers are counted together.
        listing = msgspec.structs.replace(listing, models={})
    if all(part.folder for part in parts):
        not_opened += [name for name in file_names(path) if name.endswith(formats.suffixes)]
        not_opened += [folder for folder in folders_beside(path, formats) if folder not in taken]
    listing = msgspec.structs.replace(
        listing, not_opened=(*listing.not_opened, *not_opened), hidden=(*listing.hidden, *hidden)
    )
    return CompositeSource(folder_label(path), listing, parts)


def _open(
    path: Path,
    component: Component,
    formats: Formats,
    taken: set[str],
    findings: list[Finding],
    hidden: list[Hidden],
    not_opened: list[str],
) -> Part | None:
    """One member; None if it has no weights, as a tokenizer, or with a finding if they are missing or damaged.

    One whose weights are in files of other formats is ``not_opened``.
    """
    name = component.folder
    shown = f"{name}/" if name else None
    folder = path / name
    cls = clean(component.cls, 80)
    try:
        names = file_names(folder)
        if not has_model(names, formats):
            # Models have a config.json; schedulers and tokenizers have a file of another name.
            if any(other.endswith(_ELSEWHERE) for other in names):
                not_opened.append(f"{name}/")
            elif "config.json" in names and name and not _is_without_weights(path, component):
                evidence = f"it has the config.json of a model ({cls}), and no weights"
                findings.append(Finding("warning", "bad-part", None, evidence, file=shown))
            return None
        source = open_folder(folder, formats, None, taken if not name else frozenset())
    except OpenError as error:
        sentence = str(error)
        if name and not is_there(folder):
            if cls.endswith(_WITHOUT_WEIGHTS):
                return None
            sentence = f"the list of the pipeline names it ({cls}), but there is no such folder"
        findings.append(Finding("error", "bad-part", None, sentence, file=shown))
        hidden.append(Hidden(name.replace("/", "."), shown or "", sentence))
        return None
    return Part(source, name.replace("/", "."), f"{name}/" if name else "", shown)


def _is_without_weights(path: Path, component: Component) -> bool:
    """Whether a module of sentence-transformers may have a config.json and nothing else: pooling, normalising."""
    return is_file(path / MODULES) and component.cls.rpartition(".")[2] not in (
        "Dense",
        "LayerNorm",
        "Transformer",
    )


def _describe(path: Path, parts: list[Part], *, is_one: bool) -> str:
    forms = " + ".join(sorted({part.source.listing.format.partition(",")[0] for part in parts}))
    names = listed([clean(part.prefix, 40) or "model" for part in parts], _SHOWN)
    kind = "sentence-transformers" if is_one else clean(_class_name(path), 60) or "pipeline"
    return f"{kind}: {names}; {forms}"


def _class_name(path: Path) -> str:
    content = _read(path / MODEL_INDEX)
    name = content.get("_class_name") if isinstance(content, dict) else None
    return name if isinstance(name, str) else ""


def _components(path: Path) -> list[Component]:
    for file, parse in ((MODEL_INDEX, _of_diffusers), (MODULES, _of_sentences)):
        found = list(parse(_read(path / file)))
        if found:
            return list({component.folder: component for component in found[:_MAX_COMPONENTS]}.values())
    return []


def _of_diffusers(content: Any) -> Iterator[Component]:
    for name, value in content.items() if isinstance(content, dict) else ():
        is_pair = isinstance(value, list) and len(value) == 2 and all(isinstance(item, str) for item in value)
        if is_pair and not name.startswith("_") and _is_plain(name):
            yield Component(name, value[1])


def _of_sentences(content: Any) -> Iterator[Component]:
    for entry in content if isinstance(content, list) else ():
        if not isinstance(entry, dict):
            continue
        folder, cls = entry.get("path"), entry.get("type")
        if isinstance(folder, str) and isinstance(cls, str) and (not folder or _is_plain(folder)):
            yield Component(folder, cls)


def _is_plain(name: str) -> bool:
    """Whether a name is that of a subfolder: the list must not lead out of its folder."""
    return name not in ("", ".", "..") and not set(name) & {"/", "\\", "\0"}


def _read(path: Path) -> Any:
    """The JSON in a small file; None if there is none."""
    try:
        with opened(path) as (descriptor, file):
            text = read_bytes(descriptor, 0, min(file.size, _MAX_NBYTES))
        return msgspec.json.decode(text)
    except (OpenError, msgspec.MsgspecError, RecursionError, ValueError):
        return None
