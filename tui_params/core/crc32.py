"""crc32: the checksum of zip archives (ISO 3309), by the processor's own instructions where there is a wheel."""

from __future__ import annotations

try:
    from isal.isal_zlib import crc32
except ImportError:
    # A processor for which isal has no wheel: the same numbers, at a third of the speed.
    from zlib import crc32

__all__ = ["crc32"]
