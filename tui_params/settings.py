"""What a user may set in ``config.json`` of the configuration folder: a theme, keys, thresholds of the health rules.

    {"theme": "nord", "keys": {"search": "slash,f", "quit": "Q"}, "thresholds": {"abs-max-warning": 2e4},
     "fetch_below": 8000000}

The file is read, never written. What is wrong in it is reported in one sentence, and the rest of it applies. Nothing
here knows the terminal: ``tui-params check`` reads its thresholds here, too.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Annotated

import msgspec

from tui_params.core.health.thresholds import DEFAULT, Thresholds, with_threshold

FETCH_BELOW = 8_000_000
"""Bytes of a tensor of a source elsewhere that are fetched by themselves, unless the user sets another number."""


class Settings(msgspec.Struct, frozen=True):
    """``theme`` is the name of a theme.

    ``keys`` gives keys, separated by commas, to ids of ``tui/keys.py``; ``thresholds`` gives numbers to the names in
    ``core/health/thresholds.py``, written with dashes or underscores. ``fetch_below`` are the bytes up to which a
    tensor of a source elsewhere is fetched by itself when it is on screen; of a larger one the user is told its size.
    """

    theme: str | None = None
    keys: Mapping[str, str] = {}
    thresholds: Mapping[str, float] = {}
    fetch_below: Annotated[int, msgspec.Meta(ge=0)] = FETCH_BELOW

    @property
    def limits(self) -> Thresholds:
        """The thresholds of the health rules; an unknown name or an impossible number changes nothing."""
        return _limits(self.thresholds)[0]


def path() -> Path:
    import platformdirs

    return Path(platformdirs.user_config_dir("tui-params")) / "config.json"


def load(key_ids: Collection[str], file: Path | None = None) -> tuple[Settings, str | None]:
    """The settings, and one sentence about what is wrong with the file, if anything is.

    ``key_ids`` are the ids to which the explorer lets a user give keys. Others are reported and left out.
    """
    file = path() if file is None else file
    settings, known, complaint = _read(file)
    if complaint is not None:
        return settings, complaint
    wrong = [f"no setting is called {name!r}" for name in known if name not in Settings.__struct_fields__]
    wrong += [f"no key has the id {name!r}{_hint(name, key_ids)}" for name in settings.keys if name not in key_ids]
    right = {name: given for name, given in settings.keys.items() if name in key_ids}
    wrong += _limits(settings.thresholds)[1]
    return msgspec.structs.replace(settings, keys=right), f"{file}: {'; '.join(wrong)}" if wrong else None


def _hint(name: str, key_ids: Collection[str]) -> str:
    """The id that is most like an unknown one, as a question; empty if none is like it."""
    from difflib import get_close_matches

    close = get_close_matches(name, key_ids, 1)
    return f" (did you mean {close[0]}?)" if close else ""


def load_limits(file: Path | None = None) -> tuple[Thresholds, str | None]:
    """The thresholds alone, and one sentence about what is wrong with them or with the file."""
    file = path() if file is None else file
    settings, _, complaint = _read(file)
    limits, wrong = _limits(settings.thresholds)
    return limits, complaint or (f"{file}: {'; '.join(wrong)}" if wrong else None)


def _read(file: Path) -> tuple[Settings, Mapping[str, msgspec.Raw], str | None]:
    """The settings as written in a file, everything in it by name, and why the file cannot be used, if it cannot."""
    try:
        content = file.read_bytes()
        settings = msgspec.json.decode(content, type=Settings)
        return settings, msgspec.json.decode(content, type=dict[str, msgspec.Raw]), None
    except FileNotFoundError:
        return Settings(), {}, None
    except OSError as error:
        return Settings(), {}, f"{file} cannot be read: {error.strerror}"
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        return Settings(), {}, f"{file} is not used: {error}"


def _limits(thresholds: Mapping[str, float]) -> tuple[Thresholds, list[str]]:
    limits, wrong = DEFAULT, []
    for name, value in thresholds.items():
        limits, complaint = _limited(limits, name, value)
        wrong += complaint
    return limits, wrong


def _limited(limits: Thresholds, name: str, value: float) -> tuple[Thresholds, list[str]]:
    try:
        return with_threshold(limits, name, value), []
    except ValueError as error:
        return limits, [str(error)]
