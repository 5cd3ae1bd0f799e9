"""ServeCallback for the Trainer of transformers: ``Trainer(..., callbacks=[ServeCallback()])``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tui_params.api.serving import serve

if TYPE_CHECKING:
    from tui_params.live.inside.server import Server

    TrainerCallback = object
else:
    from transformers import TrainerCallback


class ServeCallback(TrainerCallback):
    """Serves the model while it is trained, with its optimizer.

    ``name`` is what the list of models calls it, by default the ``run_name`` of the training. Raises ServeError when
    the training begins, if it cannot be served. Where training ends by an error, it is served until the process ends.
    """

    def __init__(self, name: str | None = None) -> None:
        super().__init__()
        self.name = name
        self.server: Server | None = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.stop()
        name = self.name or getattr(args, "run_name", None)
        self.server = serve(kwargs["model"], kwargs.get("optimizer"), name)

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.stop()

    def stop(self) -> None:
        """Serve it no more. May be called twice."""
        if self.server is not None:
            self.server.stop()
            self.server = None
