"""Whether a folder is that of a training run. Imports nothing that an ordinary folder does not need."""

from __future__ import annotations

from pathlib import Path

from tui_params.errors import OpenError
from tui_params.sources.folder.folder import Formats, file_names, folder_names, has_model
from tui_params.sources.folder.run.members import TRAINER_STATE, state_folders, states_among


def is_run(path: Path, formats: Formats) -> bool:
    """Whether a folder holds a state of a training run: beside a model, or by itself."""
    try:
        names = file_names(path)
    except OpenError:
        # Opening it says why.
        return False
    states = states_among(names, formats.state_suffixes)
    # One file alone needs no name before those of its tensors.
    if len(states) + (TRAINER_STATE in names) + has_model(names, formats) > 1:
        return bool(states) or TRAINER_STATE in names
    return any(not folder.startswith("global_step") for folder in state_folders(folder_names(path)))
