"""What a user may set: other keys and another theme, in ``config.json`` of the user's configuration folder.

    {"theme": "nord", "keys": {"search": "slash,f", "quit": "Q"}}

The file is read, never written. What is wrong in it is told, and the rest of it applies.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec


class Settings(msgspec.Struct, frozen=True):
    """``theme`` is the name of a theme; ``keys`` are by the ids in ``tui/keys.py``, comma separated."""

    theme: str | None = None
    keys: Mapping[str, str] = {}


def path() -> Path:
    import platformdirs

    return Path(platformdirs.user_config_dir("tui-params")) / "config.json"


def load(file: Path | None = None) -> tuple[Settings, str | None]:
    """The settings, and one sentence about what is wrong with the file, if anything is."""
    file = path() if file is None else file
    try:
        content = file.read_bytes()
        settings = msgspec.json.decode(content, type=Settings)
        known = msgspec.json.decode(content, type=dict[str, msgspec.Raw])
    except FileNotFoundError:
        return Settings(), None
    except OSError as error:
        return Settings(), f"{file} cannot be read: {error.strerror}"
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        return Settings(), f"{file} is not used: {error}"
    from tui_params.tui import keys

    wrong = [f"no setting is called {name!r}" for name in known if name not in Settings.__struct_fields__]
    for name in settings.keys:
        if not keys.is_key(name):
            close = keys.close_to(name)
            wrong.append(f"no key has the id {name!r}" + (f" (did you mean {close}?)" if close else ""))
    right = {name: given for name, given in settings.keys.items() if keys.is_key(name)}
    return msgspec.structs.replace(settings, keys=right), f"{file}: {'; '.join(wrong)}" if wrong else None
