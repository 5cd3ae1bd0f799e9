"""What a user may set: keys, a theme, thresholds of the health rules; ``config.json`` of the configuration folder.

    {"theme": "nord", "keys": {"search": "slash,f", "quit": "Q"}, "thresholds": {"abs-max-warning": 2e4}}

The file is read, never written. What is wrong in it is told, and the rest of it applies.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec

from tui_params.core.health.thresholds import DEFAULT, Thresholds, with_threshold


class Settings(msgspec.Struct, frozen=True):
    """``theme`` is the name of a theme; ``keys`` are by the ids in ``tui/keys.py``, comma separated.

    ``thresholds`` are by their names in ``core/thresholds.py``, with dashes or underscores.
    """

    theme: str | None = None
    keys: Mapping[str, str] = {}
    thresholds: Mapping[str, float] = {}

    @property
    def limits(self) -> Thresholds:
        """The thresholds of the health rules; a name or number that is none changes nothing."""
        return _limits(self.thresholds)[0]


def path() -> Path:
    import platformdirs

    return Path(platformdirs.user_config_dir("tui-params")) / "config.json"


def load(file: Path | None = None) -> tuple[Settings, str | None]:
    """The settings, and one sentence about what is wrong with the file, if anything is."""
    file = path() if file is None else file
    settings, known, complaint = _read(file)
    if complaint is not None:
        return settings, complaint
    from tui_params.tui import keys

    wrong = [f"no setting is called {name!r}" for name in known if name not in Settings.__struct_fields__]
    for name in settings.keys:
        if not keys.is_key(name):
            close = keys.close_to(name)
            wrong.append(f"no key has the id {name!r}" + (f" (did you mean {close}?)" if close else ""))
    right = {name: given for name, given in settings.keys.items() if keys.is_key(name)}
    wrong += _limits(settings.thresholds)[1]
    return msgspec.structs.replace(settings, keys=right), f"{file}: {'; '.join(wrong)}" if wrong else None


def load_limits(file: Path | None = None) -> tuple[Thresholds, str | None]:
    """The thresholds alone, without a look at the keys, which would load the terminal; and what is wrong with them."""
    file = path() if file is None else file
    settings, _, complaint = _read(file)
    limits, wrong = _limits(settings.thresholds)
    return limits, complaint or (f"{file}: {'; '.join(wrong)}" if wrong else None)


def _read(file: Path) -> tuple[Settings, Mapping[str, msgspec.Raw], str | None]:
    """The settings as they stand in a file, everything in it by its name, and why it cannot be used."""
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
