"""Which process a PID or a NAME on the command line means; one that serves nothing is entered."""

from __future__ import annotations

from tui_params.errors import OpenError
from tui_params.live.attached.finding import Serving, choose


def choose_served(found: list[Serving], which: str | None) -> Serving:
    """Of the processes that serve a model the one that is meant: without a word, the only one. Raises OpenError."""
    if which is None:
        if not found:
            raise nothing_served()
        if len(found) > 1:
            raise OpenError(f"{len(found)} models are served: say which one by its PID or its name (attach --list)")
        return found[0]
    if is_to_be_entered(found, which):
        from tui_params.live.injection.entering import enter

        return enter(int(which))[-1]  # the largest is served first
    return choose(found, which)


def is_to_be_entered(found: list[Serving], which: str) -> bool:
    """Whether a word is the PID of a process that serves nothing; a model may have a number for a name."""
    return which.isdecimal() and not any(each.pid == int(which) or each.name == which for each in found)


def nothing_served() -> OpenError:
    """The error where there is nothing to attach to."""
    return OpenError(
        "no process of yours serves a model: put tui_params.serve(model, optimizer) into the training script, or enter"
        " one that runs already: tui-params attach PID"
    )
