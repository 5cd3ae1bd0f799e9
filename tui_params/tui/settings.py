"""What a user may set: other keys and another theme, in ``config.json`` of the user's configuration folder.

    {"theme": "nord", "keys": {"search": "slash,f", "quit": "Q"}}

The file is read, never written. What is wrong in it is told, and the rest of it applies.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
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
        return msgspec.json.decode(file.read_bytes(), type=Settings), None
    except FileNotFoundError:
        return Settings(), None
    except OSError as error:
        return Settings(), f"{file} cannot be read: {error.strerror}"
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        return Settings(), f"{file} is not used: {error}"
