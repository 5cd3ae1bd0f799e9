"""What of a tensor can be written to a file: what is in sight, and what is around it."""

from __future__ import annotations

from tui_params.core.window import Window, parse_window
from tui_params.tui.state.place import Place


def windows_of(place: Place, shown: Window | None) -> dict[str, Window]:
    """The window ``shown``, the plane, the slice and the tensor by name; none that is the same as a larger one."""
    view, whole = place.plane, parse_window("", place.shape)
    windows = {"window": shown} if shown is not None and shown.numel else {}
    if view.leading and view.window.numel:
        windows["plane"] = view.part(0, view.row_count, 0, view.column_count)
    if view.window.axes != whole.axes:
        windows["slice"] = view.window
    if shown is not None and shown.axes == view.window.axes:
        windows.pop("window", None)  # all of it is in sight
    return windows | {"tensor": whole}
