"""Every key of the explorer: one table from which bindings, the help screen, the footer and the README are made.

Each key has an ``id`` under which a user can give it other keys (``keys`` in config.json, see ``settings.py``).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import msgspec
from textual.binding import Binding, BindingType


class Key(msgspec.Struct, frozen=True):
    """One thing that the user can do: its id, the keys, the action, and how it is explained."""

    id: str
    keys: str
    action: str
    label: str
    tooltip: str
    shown: str


# What moves a cursor, wherever there is one.
UP, DOWN, LEFT, RIGHT = "up,k", "down,j", "left,h", "right,l"
PAGE_UP, PAGE_DOWN = "pageup,ctrl+b", "pagedown,ctrl+f"
HOME, END = "home", "end,G"

TREE: tuple[Key, ...] = (
    Key("tree.up", UP, "cursor(-1)", "up", "Move up one row", "↑ k"),
    Key("tree.down", DOWN, "cursor(1)", "down", "Move down one row", "↓ j"),
    Key("tree.left", LEFT, "out", "close", "Close the module, or go to the one around it", "← h"),
    Key("tree.right", RIGHT, "into", "open", "Open the module, or go to its first row", "→ l"),
    Key("tree.toggle", "space", "open_close", "toggle", "Open or close the module", "space"),
    Key("tree.enter", "enter", "enter", "open", "Open or close the module; look inside a tensor", "enter"),
    Key("tree.page_up", PAGE_UP, "page(-1)", "page up", "One page up", "pgup ctrl+b"),
    Key("tree.page_down", PAGE_DOWN, "page(1)", "page down", "One page down", "pgdn ctrl+f"),
    Key("tree.home", HOME, "edge(-1)", "first", "First row", "home"),
    Key("tree.end", END, "edge(1)", "last", "Last row", "end G"),
    Key("tree.parent", "p,backspace", "parent", "parent", "The module around this row", "p"),
    Key("tree.next", "right_square_bracket,J", "sibling(1)", "next sibling", "The next row of the same module", "] J"),
    Key("tree.previous", "left_square_bracket", "sibling(-1)", "row before", "The row before in the same module", "["),
    Key("tree.expand_below", "e", "expand_below", "expand", "Open everything below this module", "e"),
    Key("tree.collapse_below", "minus", "collapse_below", "collapse", "Close everything below this module", "-"),
    Key("tree.expand_all", "E", "expand_all", "expand all", "Open the whole tree", "E"),
    Key("tree.collapse_all", "C", "collapse_all", "collapse all", "Close the whole tree", "C"),
    Key(
        "tree.next_mark",
        "n",
        "mark(1)",
        "next mark",
        "The next tensor marked ! or ~ or x; under a filter, the next match",
        "n",
    ),
    Key(
        "tree.previous_mark",
        "N",
        "mark(-1)",
        "previous mark",
        "The previous tensor with a mark; under a filter, the previous match",
        "N",
    ),
)

REPAINT = Key("repaint", "ctrl+l", "app.repaint", "repaint", "Paint anew what another program wrote over", "ctrl+l")
"""Of every screen, because it is one of the app."""

SCREEN: tuple[Key, ...] = (
    Key("search", "slash", "search", "search", "Filter the tree by name, type, shape or statistics", "/"),
    Key("clear", "escape", "clear", "clear", "Stop what is running, clear the filter, leave the enlarged pane", "esc"),
    Key("values", "v", "values", "values", "Choose which values are shown: a slice such as [0, :3]", "v"),
    Key("inside", "i", "inside", "inside", "Look inside: numbers, picture, channels, histogram, spectrum", "i"),
    Key("gradient", "g", "gradient", "gradient", "Switch between a parameter and its gradient", "g"),
    Key("log_counts", "s", "log_counts", "log counts", "Histogram counts: linear or logarithmic", "s"),
    Key("log_axis", "a", "log_axis", "log axis", "Histogram values: linear or logarithmic", "a"),
    Key("enlarge", "z", "enlarge", "enlarge", "Give the detail the whole width, or take it back", "z"),
    Key("scroll_down", "ctrl+d", "scroll_detail(1)", "scroll down", "Scroll the detail down", "ctrl+d"),
    Key("scroll_up", "ctrl+u", "scroll_detail(-1)", "scroll up", "Scroll the detail up", "ctrl+u"),
    Key("narrower", "less_than_sign", "resize(-4)", "narrower", "Make the tree narrower", "<"),
    Key("wider", "greater_than_sign", "resize(4)", "wider", "Make the tree wider", ">"),
    Key("scan", "S", "scan", "scan all", "Read and check every tensor in the background; esc stops", "S"),
    Key("fetch", "f", "fetch", "fetch", "Fetch the tensor, or what the page asks for, from a source elsewhere", "f"),
    Key("verify", "V", "verify", "verify files", "Compare the files with the digests of the hub; esc stops", "V"),
    Key("kinds", "K", "kinds", "kinds", "The tensors by kind, over their layers", "K"),
    Key("matrix", "M", "matrix", "matrix", "Layers down, kinds across, in colours", "M"),
    Key("timeline", "T", "timeline", "timeline", "How the tensors of a run moved", "T"),
    Key("problems", "exclamation_mark", "problems", "problems", "List what is wrong, the worst first", "!"),
    Key("sort", "o", "sort", "sort", "Sort the tree by a statistic: o, then a letter", "o"),
    Key("columns", "vertical_line", "columns", "columns", "Choose the tree's columns and their order", "|"),
    Key("axis", "x", "axis", "one axis", "One axis for a module's sparklines", "x"),
    Key("pin", "P", "pin", "pin", "Compare later looks with the present", "P"),
    Key("back", "H,alt+left", "travel(-1)", "back", "Back to the tensor looked at before, whatever the filter", "H"),
    Key("forward", "L,alt+right", "travel(1)", "forward", "Forward again", "L"),
    Key("bookmark", "m", "bookmark", "bookmark", "Set a bookmark here: m, then a letter", "m"),
    Key("go_to", "apostrophe", "go_to_bookmark", "go to", "Go to a bookmark: ', then its letter", "'"),
    Key("copy_name", "y", "copy_name", "copy name", "Copy the full name", "y"),
    Key("copy_line", "Y", "copy_line", "copy summary", "Copy the one-line summary", "Y"),
    Key("focus", "tab", "other_pane", "other pane", "Move between the tree, the detail and the values", "tab"),
    Key("export", "w", "export", "write", "Write the list, values or screen to a file", "w"),
    Key("hold", "F", "hold", "hold", "Hold the picture of a model that trains, or let it follow again", "F"),
    Key("logical", "t", "logical", "packed", "Packed weights as what they mean, or as they are stored", "t"),
    Key("watch", "W", "watch", "watch", "Watch a model that trains for NaN, infinities, norms, stillness", "W"),
    Key("reload", "R", "reload", "reload", "Open the source again", "R"),
    REPAINT,
    Key("help", "question_mark,f1", "help", "keys", "This list of keys, and the filter language", "? f1"),
    Key("palette", "colon", "app.command_palette", "commands", "All commands, by name (also ctrl+p)", ":"),
    Key("quit", "q", "app.quit", "quit", "Leave", "q"),
)

COMPARE: tuple[Key, ...] = (
    Key("compare", "c", "compare", "compare", "Compare with another file, folder or model; what differs", "c"),
    Key("renames", "r", "renames", "renames", "Apply the renames that are suggested for B, or drop them", "r"),
    Key("unchanged", "U", "unchanged", "unchanged", "What did not change, and everything again", "U"),
    Key("difference", "d", "difference", "difference", "Look inside B - A: heat map, numbers, histogram", "d"),
    Key("rank", "D", "rank", "rank of B - A", "Find the rank of the difference B - A of a matrix", "D"),
)
"""The comparison with another source."""

VALUES: tuple[Key, ...] = (
    Key("values.up", UP, "pan(-1, 0)", "up", "One row of values up", "↑ k"),
    Key("values.down", DOWN, "pan(1, 0)", "down", "One row of values down", "↓ j"),
    Key("values.left", LEFT, "pan(0, -1)", "left", "One column of values to the left", "← h"),
    Key("values.right", RIGHT, "pan(0, 1)", "right", "One column of values to the right", "→ l"),
    Key("values.page_up", PAGE_UP, "pan_page(-1)", "page up", "One page of values up", "pgup"),
    Key("values.page_down", PAGE_DOWN, "pan_page(1)", "page down", "One page of values down", "pgdn"),
    Key("values.home", HOME, "pan_home", "start", "Back to the first values", "home"),
    Key(
        "values.next_table",
        "right_square_bracket",
        "step(1)",
        "next table",
        "The next table of a slice of 3 or more dimensions",
        "]",
    ),
    Key("values.previous_table", "left_square_bracket", "step(-1)", "previous table", "The previous table", "["),
    Key("values.inside", "enter", "screen.inside_here", "inside", "Look inside the tensor from here on", "enter"),
)

EDITS: tuple[Key, ...] = (
    Key("edit", "equals_sign", "edit", "set values", "Set the value at the cursor, the slice or the tensor", "="),
    Key("edits", "ctrl+e", "edits", "edits", "List the edits that are staged, and those that were made", "ctrl+e"),
    Key("apply", "ctrl+s", "apply_edits", "apply edits", "Write the staged edits to the model", "ctrl+s"),
    Key("undo", "u", "undo_edit", "undo edit", "Undo the newest edit that was made, byte for byte", "u"),
)
"""Only where ``explore(model, editable=True)`` has opened a model."""


TENSOR: tuple[Key, ...] = (
    Key("tensor.back", "escape,q", "back", "back", "Stop what is running; back to the tree", "esc q"),
    Key("tensor.next_lens", "tab", "turn_lens(1)", "next lens", "The next lens, at the same place", "tab"),
    Key("tensor.previous_lens", "shift+tab", "turn_lens(-1)", "previous lens", "The lens before", "shift+tab"),
    Key(
        "tensor.next_layer",
        "right_square_bracket",
        "step_layer(1)",
        "next layer",
        "The tensor of the same kind in the next layer, at the same place",
        "]",
    ),
    Key("tensor.previous_layer", "left_square_bracket", "step_layer(-1)", "layer before", "The layer before", "["),
    Key("tensor.slice", "v", "edit_slice", "slice", "Type a slice: [3, :, 100:200, ::2], ... is all the rest", "v"),
    Key("tensor.index", "g", "go_to_index", "go to", "Go to an index: 3, 17, -1", "g"),
    Key("tensor.next_plane", "full_stop", "step_plane(1)", "next plane", "The next index of the leading axes", "."),
    Key("tensor.previous_plane", "comma", "step_plane(-1)", "plane before", "The index before", ","),
    Key("tensor.across", "x", "turn_axis('columns')", "axis across", "Another axis runs across", "x"),
    Key("tensor.down", "X", "turn_axis('rows')", "axis down", "Another axis runs down", "X"),
    Key("tensor.transpose", "t", "transpose", "transpose", "Swap the axes that run down and across", "t"),
    Key("tensor.copy_line", "y", "copy_line", "copy summary", "Copy the one-line summary of the tensor", "y"),
    Key("tensor.fetch", "F", "fetch", "fetch", "Fetch what the lens needs, from a source elsewhere", "F"),
    Key("tensor.export", "w", "export", "write", "Write the values to a .npy or .csv file", "w"),
    Key("tensor.help", "question_mark,f1", "help", "keys", "These keys", "? f1"),
    Key("tensor.palette", "colon", "app.command_palette", "commands", "All commands, by name (also ctrl+p)", ":"),
)
"""The tensor screen, whichever lens is up; the lenses have keys of their own (``Lens.KEYS``)."""


CELLS: tuple[Key, ...] = (
    Key("cells.up", UP, "move(-1, 0)", "up", "One row up", "↑ k"),
    Key("cells.down", DOWN, "move(1, 0)", "down", "One row down", "↓ j"),
    Key("cells.left", LEFT, "move(0, -1)", "left", "One column to the left", "← h"),
    Key("cells.right", RIGHT, "move(0, 1)", "right", "One column to the right", "→ l"),
    Key("cells.page_up", PAGE_UP, "page(-1, 0)", "page up", "One page up", "pgup"),
    Key("cells.page_down", PAGE_DOWN, "page(1, 0)", "page down", "One page down", "pgdn"),
    Key("cells.page_left", "ctrl+left,H", "page(0, -1)", "page left", "One page to the left", "ctrl+← H"),
    Key("cells.page_right", "ctrl+right,L", "page(0, 1)", "page right", "One page to the right", "ctrl+→ L"),
    Key("cells.row_start", "home", "row_edge(-1)", "row start", "First value of the row", "home"),
    Key("cells.row_end", "end", "row_edge(1)", "row end", "Last value of the row", "end"),
    Key("cells.first", "ctrl+home", "edge(-1)", "first", "First value of the plane", "ctrl+home"),
    Key("cells.last", "ctrl+end,G", "edge(1)", "last", "Last value of the plane", "ctrl+end G"),
    Key("cells.largest", "a", "extreme(1)", "largest", "Go to the largest element of the slice", "a"),
    Key("cells.smallest", "A", "extreme(-1)", "smallest", "Go to the smallest element of the slice", "A"),
    Key("cells.next", "n", "seek(1)", "next NaN", "The next NaN or Inf, or what was searched with /", "n"),
    Key("cells.previous", "N", "seek(-1)", "NaN before", "The one before", "N"),
    Key("cells.search", "slash", "search", "search", "Search values: >3.5  <-1  =0  abs>2  nan  inf", "/"),
    Key("cells.format", "f", "format", "format", "Digits, fixed, scientific, bits in hex", "f"),
    Key("cells.more_digits", "greater_than_sign", "digits(1)", "more digits", "One digit more", ">"),
    Key("cells.fewer_digits", "less_than_sign", "digits(-1)", "fewer digits", "One digit less", "<"),
    Key("cells.edge", "e", "edges", "edge", "Least, greatest and mean of whole rows and columns", "e"),
    Key("cells.copy", "c", "copy", "copy", "Copy the cell, the row or the window", "c"),
)
"""The lens Values."""


HEAT: tuple[Key, ...] = (
    Key("heat.up", UP, "move(-1, 0)", "up", "One block up", "↑ k"),
    Key("heat.down", DOWN, "move(1, 0)", "down", "One block down", "↓ j"),
    Key("heat.left", LEFT, "move(0, -1)", "left", "One block to the left", "← h"),
    Key("heat.right", RIGHT, "move(0, 1)", "right", "One block to the right", "→ l"),
    Key("heat.page_up", PAGE_UP, "page(-1, 0)", "page up", "Half a picture up", "pgup"),
    Key("heat.page_down", PAGE_DOWN, "page(1, 0)", "page down", "Half a picture down", "pgdn"),
    Key("heat.page_left", "ctrl+left,H", "page(0, -1)", "page left", "Half a picture to the left", "ctrl+← H"),
    Key("heat.page_right", "ctrl+right,L", "page(0, 1)", "page right", "Half a picture to the right", "ctrl+→ L"),
    Key("heat.row_start", "home", "row_edge(-1)", "row start", "First block of the row", "home"),
    Key("heat.row_end", "end", "row_edge(1)", "row end", "Last block of the row", "end"),
    Key("heat.first", "ctrl+home", "edge(-1)", "first", "First block of the plane", "ctrl+home"),
    Key("heat.last", "ctrl+end,G", "edge(1)", "last", "Last block of the plane", "ctrl+end G"),
    Key("heat.nearer", "plus,equals_sign", "zoom(1)", "nearer", "Smaller blocks, down to single values", "+"),
    Key("heat.farther", "minus", "zoom(-1)", "farther", "Larger blocks", "-"),
    Key("heat.whole", "z", "whole", "whole", "The whole plane", "z"),
    Key("heat.statistic", "s", "statistic(1)", "statistic", "Mean, RMS, largest |x|, or share of NaN and Inf", "s"),
    Key("heat.statistic_before", "S", "statistic(-1)", "one before", "The one before", "S"),
    Key("heat.scale", "a", "scale", "log scale", "Colours: linear up to a limit, or symmetric logarithm", "a"),
    Key("heat.next", "n", "seek(1)", "next NaN", "The next NaN or Inf, or what was searched with /", "n"),
    Key("heat.previous", "N", "seek(-1)", "NaN before", "The one before", "N"),
    Key("heat.search", "slash", "search", "search", "Search values: >3.5  <-1  =0  abs>2  nan  inf", "/"),
    Key("heat.open", "enter", "open", "values", "The values from this place on", "enter"),
)


TIMELINE: tuple[Key, ...] = (
    Key("timeline.up", UP, "move(-1)", "up", "One row up", "↑ k"),
    Key("timeline.down", DOWN, "move(1)", "down", "One row down", "↓ j"),
    Key("timeline.page_up", PAGE_UP, "page(-1)", "page up", "One page up", "pgup"),
    Key("timeline.page_down", PAGE_DOWN, "page(1)", "page down", "One page down", "pgdn"),
    Key("timeline.home", HOME, "edge(-1)", "first", "First row", "home"),
    Key("timeline.end", END, "edge(1)", "last", "Last row", "end G"),
    Key("timeline.enter", "enter", "enter", "go there", "Go to the tensor in the tree", "enter"),
    Key("timeline.sort", "o", "sort", "sort", "By the first NaN or Inf, by the largest jump, by name", "o"),
    Key("timeline.kinds", "K", "kinds", "kinds", "Of each kind the tensor that comes first alone, or all again", "K"),
    Key("timeline.search", "slash", "search", "filter", "Show only tensors with this text in their names", "/"),
    Key("timeline.scroll_down", "ctrl+d", "scroll_page(1)", "scroll down", "Scroll the page down", "ctrl+d"),
    Key("timeline.scroll_up", "ctrl+u", "scroll_page(-1)", "scroll up", "Scroll it up", "ctrl+u"),
    Key("timeline.fetch", "f", "fetch", "fetch", "Fetch the checkpoints of a run elsewhere, and read them", "f"),
    Key("timeline.reload", "R", "reload", "read again", "Read the run again", "R"),
    Key("timeline.clear", "escape", "clear", "back", "Stop the reading, drop the filter, go back to the tree", "esc"),
    Key("timeline.leave", "q,T", "leave", "leave", "Leave the timeline", "q T"),
    Key("timeline.help", "question_mark,f1", "help", "keys", "These keys", "? f1"),
    Key("timeline.palette", "colon", "app.command_palette", "commands", "All commands, by name (also ctrl+p)", ":"),
)
"""The screen of a run's timeline."""


KINDS: tuple[Key, ...] = (
    Key("kinds.up", UP, "move(-1)", "up", "One row up", "↑ k"),
    Key("kinds.down", DOWN, "move(1)", "down", "One row down", "↓ j"),
    Key("kinds.page_up", PAGE_UP, "page(-1)", "page up", "One page up", "pgup"),
    Key("kinds.page_down", PAGE_DOWN, "page(1)", "page down", "One page down", "pgdn"),
    Key("kinds.home", HOME, "edge(-1)", "first", "First row", "home"),
    Key("kinds.end", END, "edge(1)", "last", "Last row", "end G"),
    Key("kinds.enter", "enter", "enter", "open", "Open the tensors of a kind; go to a tensor", "enter"),
    Key("kinds.right", RIGHT, "into", "open", "Open the tensors of a kind", "→ l"),
    Key("kinds.left", LEFT, "out", "close", "Close the kind", "← h"),
    Key("kinds.statistic", "s", "statistic(1)", "statistic", "std, max |x|, zeros, NaN, change, gradient", "s"),
    Key("kinds.read", "S", "read", "read all", "Read every tensor in the background", "S"),
    Key("kinds.scroll_down", "ctrl+d", "scroll_page(1)", "scroll down", "Scroll the page of the kind down", "ctrl+d"),
    Key("kinds.scroll_up", "ctrl+u", "scroll_page(-1)", "scroll up", "Scroll it up", "ctrl+u"),
    Key("kinds.matrix", "M", "leave('matrix')", "matrix", "The same as a matrix", "M"),
    Key("kinds.back", "escape,q,K", "leave", "back", "Back to the tree", "esc q K"),
    Key("kinds.help", "question_mark,f1", "help", "keys", "These keys", "? f1"),
)
"""The screen of the kinds."""


MATRIX: tuple[Key, ...] = (
    Key("matrix.up", UP, "move(-1, 0)", "up", "One layer up", "↑ k"),
    Key("matrix.down", DOWN, "move(1, 0)", "down", "One layer down", "↓ j"),
    Key("matrix.left", LEFT, "move(0, -1)", "left", "One column to the left", "← h"),
    Key("matrix.right", RIGHT, "move(0, 1)", "right", "One column to the right", "→ l"),
    Key("matrix.page_up", PAGE_UP, "page(-1, 0)", "page up", "One page up", "pgup"),
    Key("matrix.page_down", PAGE_DOWN, "page(1, 0)", "page down", "One page down", "pgdn"),
    Key("matrix.page_left", "ctrl+left,H", "page(0, -1)", "page left", "One page to the left", "ctrl+← H"),
    Key("matrix.page_right", "ctrl+right,L", "page(0, 1)", "page right", "One page to the right", "ctrl+→ L"),
    Key("matrix.first", "home", "edge(-1)", "first", "First layer and kind", "home"),
    Key("matrix.last", END, "edge(1)", "last", "Last layer and kind", "end G"),
    Key("matrix.next", "n", "seek(1)", "next odd", "The next tensor with NaN or Inf, or far from its kind", "n"),
    Key("matrix.previous", "N", "seek(-1)", "odd before", "The one before", "N"),
    Key("matrix.next_plane", "full_stop", "plane(1)", "next plane", "Other layers, or the experts of a kind", "."),
    Key("matrix.previous_plane", "comma", "plane(-1)", "plane before", "The plane before", ","),
    Key("matrix.statistic", "s", "statistic(1)", "statistic", "std, max |x|, zeros, NaN, change, gradient", "s"),
    Key("matrix.against", "a", "against", "colours", "Colours against the median of the kind, or all alike", "a"),
    Key("matrix.enter", "enter", "enter", "go there", "Go to the tensor in the tree", "enter"),
    Key("matrix.read", "S", "read", "read all", "Read every tensor in the background", "S"),
    Key("matrix.kinds", "K", "leave('kinds')", "kinds", "The same as a list of kinds", "K"),
    Key("matrix.back", "escape,q,M", "leave", "back", "Back to the tree", "esc q M"),
    Key("matrix.help", "question_mark,f1", "help", "keys", "These keys", "? f1"),
)
"""The screen of the matrix."""


def cursor_bindings(line: tuple[str, str], page: tuple[str, str], edge: tuple[str, str]) -> list[BindingType]:
    """Bindings of the keys that move a cursor or a page: each pair holds the actions for up and for down."""
    actions = zip((UP, DOWN, PAGE_UP, PAGE_DOWN, HOME, END), (*line, *page, *edge), strict=True)
    return [Binding(keys, action, show=False) for keys, action in actions]


def bindings(keys: tuple[Key, ...]) -> list[BindingType]:
    """Textual bindings of a table; the footer is our own, so none is shown there."""
    return [Binding(key.keys, key.action, key.label, show=False, tooltip=key.tooltip, id=key.id) for key in keys]


SECTIONS: tuple[tuple[str, tuple[Key, ...]], ...] = (
    ("Tree", TREE),
    ("Everywhere", SCREEN),
    ("Beside another source", COMPARE),
    ("Values (after v or tab)", VALUES),
    ("Editing (explore(model, editable=True))", EDITS),
)
"""What the help of the explorer lists; that of the tensor screen has its own."""

_BY_ID = {key.id: key for key in (*TENSOR, *KINDS, *MATRIX, *TIMELINE)} | {
    key.id: key for _, table in SECTIONS for key in table
}

IDS: Collection[str] = _BY_ID.keys()
"""Every id to which a user can give keys, without those of the lenses (``screens/tensor/lenses.py`` has all)."""


def shown(name: str, changed: Mapping[str, str]) -> str:
    """The keys of an id as a person reads them; those that the user has chosen in place of ours."""
    return shown_of(_BY_ID[name], changed)


def shown_of(key: Key, changed: Mapping[str, str]) -> str:
    """The keys of one line of a table, as a person reads them."""
    keys = changed.get(key.id)
    if keys is None:
        return key.shown
    return " ".join(_CHARACTERS.get(key.strip(), key.strip()) for key in keys.split(","))


def action(name: str) -> str:
    """The action of an id."""
    return _BY_ID[name].action


def first(name: str, changed: Mapping[str, str]) -> str:
    """The first key of an id as a person reads it, for a hint."""
    return shown(name, changed).split(" ")[0]


def fill_in(words: str, changed: Mapping[str, str]) -> str:
    """A sentence in which ``{scan}`` is the first key of that id; other braces are left alone."""
    for name in _BY_ID:
        words = words.replace(f"{{{name}}}", first(name, changed))
    return words


_CHARACTERS = {
    "slash": "/",
    "question_mark": "?",
    "colon": ":",
    "apostrophe": "'",
    "vertical_line": "|",
    "exclamation_mark": "!",
    "less_than_sign": "<",
    "greater_than_sign": ">",
    "left_square_bracket": "[",
    "right_square_bracket": "]",
    "escape": "esc",
    "equals_sign": "=",
    "full_stop": ".",
    "comma": ",",
    "plus": "+",
    "minus": "-",
}
