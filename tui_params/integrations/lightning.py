"""ServeCallback for Lightning: ``Trainer(callbacks=[ServeCallback()])`` lets ``tui-params attach`` look at it."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

from tui_params.api.serving import serve

if TYPE_CHECKING:
    from tui_params.live.inside.server import Server

    Base = object
else:
    # The trainer of one package does not take the callbacks of the other, which has the same classes.
    _name = "pytorch_lightning" if "lightning.pytorch" not in sys.modules else "lightning.pytorch"
    Base = import_module(_name if _name in sys.modules else "lightning.pytorch").Callback


class ServeCallback(Base):
    """Serves the LightningModule while it is trained, with its optimizers.

    ``name`` is what the list of models calls it. Raises ServeError when the training begins, if it cannot be served.
    """

    def __init__(self, name: str | None = None) -> None:
        super().__init__()
        self.name = name
        self.server: Server | None = None

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        self._stop()
        self.server = serve(pl_module, list(trainer.optimizers), self.name)

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        self._stop()

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        self._stop()

    def _stop(self) -> None:
        if self.server is not None:
            self.server.stop()
            self.server = None
