"""A folder of a training run as one tree: the model under its own names, its optimizer and other states beside it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

import msgspec

from tui_params.core.findings import Finding
from tui_params.core.source import Hidden, Source
from tui_params.core.text import clean, listed
from tui_params.errors import OpenError
from tui_params.sources.bytes.files import is_file
from tui_params.sources.folder.composite import CompositeSource, Part, combine
from tui_params.sources.folder.config import read_configs
from tui_params.sources.folder.folder import (
    Formats,
    check_refusal,
    file_names,
    folder_names,
    folders_beside,
    has_model,
    open_folder,
)
from tui_params.sources.folder.json_files import config_findings
from tui_params.sources.folder.run.members import (
    MOST_STATES,
    PICKLES,
    TRAINER_STATE,
    is_model_folder,
    state_folders,
    states_among,
    stem_of,
)
from tui_params.sources.folder.run.optimizer_order import name_states
from tui_params.sources.folder.run.trainer_state import read_trainer_state, state_findings
from tui_params.sources.folder.shard_index import folder_label

_OPTIMIZER = "optimizer"
_SHOWN = 4


def open_run(path: Path, formats: Formats) -> Source:
    """The model, the optimizer and every other state of a run in one tree. Raises OpenError if nothing can be opened.

    A part that is damaged is a finding and hides no other; what is not read is in ``Listing.not_opened``.
    """
    check_refusal(path, formats)
    run = _Run(path, formats)
    run.add_model()
    run.add_folders()
    run.add_states()
    if not run.parts:
        # It says what there is instead.
        return open_folder(path, formats)
    name_states([part for part in run.parts if not part.is_state], [part for part in run.parts if part.is_state])
    facts = read_trainer_state(path)
    listing = combine(run.describe(), run.parts, [*run.findings, *state_findings(facts)])
    metadata = {**facts, **run.metadata, **listing.metadata}
    listing = msgspec.structs.replace(
        listing,
        metadata=metadata,
        not_opened=(*listing.not_opened, *run.not_opened),
        hidden=(*listing.hidden, *run.hidden),
    )
    return CompositeSource(folder_label(path), listing, run.parts)


class _Run:
    """The parts of a run while they are being opened."""

    def __init__(self, path: Path, formats: Formats) -> None:
        self.parts: list[Part] = []
        self.findings: list[Finding] = []
        self.hidden: list[Hidden] = []
        self.not_opened: list[str] = []
        self.metadata: dict[str, str] = {}
        self._path = path
        self._formats = formats
        self._names = file_names(path)
        self._states = states_among(self._names, formats.state_suffixes)
        self._folders = state_folders(folder_names(path))
        self._tops: set[str] = set()

    def add_model(self) -> None:
        """The weights that lie in the folder itself or, if there are none, in subfolders with a config.json each."""
        elsewhere = {*self._states, TRAINER_STATE, *(f"{name}/" for name in self._folders)}
        if has_model(self._names, self._formats):
            source = self._opened(partial(open_folder, self._path, self._formats, None, elsewhere), None, "")
            if source is not None:
                self._add(Part(source))
            return
        self.metadata |= read_configs(self._path)
        self.findings += config_findings(self._path)
        states = set(self._states)
        self.not_opened += [name for name in self._names if name.endswith(PICKLES) and name not in states]
        for name in folders_beside(self._path, self._formats):
            if name in elsewhere:
                continue
            folder = self._path / name
            if is_file(folder / "config.json"):
                prefix = self._free(name[:-1])
                source = self._opened(partial(open_folder, folder, self._formats), name, prefix)
                if source is not None:
                    self._add(Part(source, prefix, name, name))
            else:
                self.not_opened.append(name)

    def add_folders(self) -> None:
        """FSDP's folders, each a distributed checkpoint, and others that a reader of their format recognises."""
        for name in self._folders:
            folder, shown = self._path / name, f"{name}/"
            before = len(self.findings)
            below = "" if is_model_folder(name) else _OPTIMIZER
            source = self._opened(partial(self._formats.open_subfolder, folder), shown, below, name)
            if source is None:
                if len(self.findings) == before:
                    self.not_opened.append(shown)
                continue
            is_model = is_model_folder(name)
            tops = {info.name.partition(".")[0] for info in source.listing.tensors}
            # Its own names say already what they are: model.layers.0..., optimizer.state.layers.0...
            is_alone = sum(is_model_folder(other) == is_model for other in self._folders) == 1
            is_plain = (
                is_alone
                and not tops & self._tops
                and (not any(not part.is_state for part in self.parts) if is_model else tops == {_OPTIMIZER})
            )
            prefix = "" if is_plain else self._free(name)
            self._add(Part(source, prefix, shown, shown, is_state=not is_model), tops if is_plain else {prefix})

    def add_states(self) -> None:
        """The files with states, each below its own name."""
        for name in self._states[:MOST_STATES]:
            prefix = self._free(stem_of(name, self._states))
            source = self._opened(partial(self._formats.open_file, self._path / name), name, prefix)
            if source is not None:
                if name.startswith("training_args"):
                    _expect_classes(source)
                self._add(Part(source, prefix, "", name, is_state=True), {prefix})
        self.not_opened += self._states[MOST_STATES:]

    def describe(self) -> str:
        """``safetensors, with optimizer, scheduler, rng_state``."""
        forms = dict.fromkeys(part.source.listing.format for part in self.parts if not part.is_state)
        states = [part.prefix or _OPTIMIZER for part in self.parts if part.is_state]
        shown = listed([clean(state, 40) for state in states], _SHOWN)
        if not forms:
            return f"{shown} of a run" if states else "a run"
        return " + ".join(forms) + (f", with {shown}" if states else "")

    def _add(self, part: Part, tops: Iterable[str] | None = None) -> None:
        self.parts.append(part)
        if tops is None:
            tops = (info.name.partition(".")[0] for info in part.source.listing.tensors)
            tops = tops if not part.prefix else (part.prefix,)
        self._tops.update(tops)

    def _free(self, prefix: str) -> str:
        """The prefix, or one like it that no tensor has yet: a model may have a module of that name."""
        found, number = prefix, 2
        while found in self._tops:
            found, number = f"{prefix}~{number}", number + 1
        return found

    def _opened(self, open_it: Callable[[], Source | None], about: str | None, *below: str) -> Source | None:
        """The source, or None with a finding; then tensors ``below`` these names may be missing in the tree."""
        try:
            return open_it()
        except OpenError as error:
            self.findings.append(Finding("error", "bad-part", None, str(error), file=about))
            self.hidden += [Hidden(name, about or "", str(error)) for name in below]
            return None


def _expect_classes(source: Source) -> None:
    """Drop the remark that a file holds objects: it is written for an object with the settings of the run."""
    listing = source.listing
    found = tuple(finding for finding in listing.findings if finding.rule != "pickle-classes")
    source.listing = msgspec.structs.replace(listing, findings=found)
