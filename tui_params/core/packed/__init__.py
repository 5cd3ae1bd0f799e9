"""Packed weights as what they mean: which tensors are one quantised weight, and how its values are restored."""

from tui_params.core.tensor import TensorInfo

RESTORED = "packed: "
"""How the first note about a packed weight begins that stands as what it means; its method follows."""

UNTOLD = "packed, but its values cannot be told"
"""How the note about a packed tensor begins of which the files do not say enough; the reason follows."""


def is_restored(info: TensorInfo) -> bool:
    """Whether a tensor is a packed weight that stands as what it means, or is in blocks that are restored when read."""
    return info.dtype.stored is not None or any(note.startswith(RESTORED) for note in info.notes)


def is_untold(info: TensorInfo) -> bool:
    """Whether a tensor is packed, and the files do not say enough to restore it."""
    return any(note.startswith(UNTOLD) for note in info.notes)
