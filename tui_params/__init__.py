"""tui-params: look at PyTorch parameters in the terminal.

``explore(model)`` opens the explorer on a live model, ``open_source(path_or_model)`` gives the same inspector to a
script, ``check(path_or_model)`` looks for what is wrong, ``compare(a, b)`` for what changed, ``timeline(run)`` for how
a run moved, ``report(...)`` has all of that as one page, ``summarize(tensor)`` the statistics of one tensor in a line,
and ``serve(model)`` lets ``tui-params attach`` look at a model while it trains. The names are resolved on first use, so
that importing the package costs nothing.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:  # type checkers take this name for true; importing typing for it would cost some milliseconds
    from typing import Any

    from tui_params.api.checking import check as check
    from tui_params.api.comparing import compare as compare
    from tui_params.api.opening import open_source as open_source
    from tui_params.api.serving import serve as serve
    from tui_params.api.summarizing import summarize as summarize
    from tui_params.api.timelines import timeline as timeline
    from tui_params.reports.reporting import report as report
    from tui_params.tui.explore import explore as explore

__version__ = "0.1.0"

__all__ = ["__version__", "check", "compare", "explore", "open_source", "report", "serve", "summarize", "timeline"]

_HOME = {
    "check": "tui_params.api.checking",
    "compare": "tui_params.api.comparing",
    "explore": "tui_params.tui.explore",
    "open_source": "tui_params.api.opening",
    "report": "tui_params.reports.reporting",
    "serve": "tui_params.api.serving",
    "summarize": "tui_params.api.summarizing",
    "timeline": "tui_params.api.timelines",
}


def __getattr__(name: str) -> Any:
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module 'tui_params' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(home), name)


def __dir__() -> list[str]:
    return sorted(__all__)
