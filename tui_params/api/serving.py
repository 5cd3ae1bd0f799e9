"""``serve``: the one line with which a training script lets itself be looked at."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tui_params.errors import ServeError

if TYPE_CHECKING:
    from tui_params.live.inside.server import Server


def serve(model: Any, optimizer: Any = None, name: str | None = None) -> Server:
    """Let ``tui-params attach`` look at a model while it trains, until the process ends or ``stop()`` is called.

    ``optimizer`` is the torch optimizer whose states are shown, or a list of those that share the parameters out;
    ``name`` is what the list of models calls it. Two hooks of torch count the steps, and a daemon thread answers
    viewers of the same user through a Unix socket: there is no port. A viewer reads the memory of this process itself,
    and gradients are copied only while one is looked at.
    A process that is forked from this one serves nothing. Raises ServeError if the socket cannot be made, TypeError if
    ``model`` is no module or ``optimizer`` no optimizer.
    """
    from tui_params.live.inside.leaves import is_module, is_optimizer
    from tui_params.live.inside.optimizers import several
    from tui_params.live.inside.server import Server

    if not is_module(model):
        raise TypeError(f"serve() expects a torch.nn.Module, not {type(model).__name__}")
    for each in several(optimizer):
        if not is_optimizer(each):
            raise TypeError(f"optimizer= expects a torch.optim.Optimizer, or a list of them, not {type(each).__name__}")
    server = Server(model, optimizer, name or "")
    try:
        server.start()
    except OSError as error:
        raise ServeError(f"the model cannot be served: {error}") from error
    return server
