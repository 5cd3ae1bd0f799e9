"""The modules of ``live.inside`` as one text, for a process that has no tui-params."""

from __future__ import annotations

from importlib.resources import files

PRIVATE_PACKAGE = "_tui_params_inside"
"""What the modules are called in the other process, which may have a tui-params of its own."""

MODULES = (
    "description",
    "anatomy",
    "memory",
    "leaves",
    "adapters",
    "arrays",
    "packed",
    "probe",
    "optimizers",
    "absences",
    "model",
    "shared_page",
    "step_clock",
    "tensor_slots",
    "tensor_copies",
    "frames",
    "runtime_folder",
    "requests",
    "server",
)
"""The modules of ``live.inside`` in the order in which they are loaded: each imports only earlier ones."""


def read_texts() -> dict[str, str]:
    """The source text of each of MODULES, by name and in order."""
    return {name: _read(name) for name in MODULES}


def make_bundle() -> str:
    """A Python script that makes MODULES importable, as ``_tui_params_inside.probe`` and so on, where it is run."""
    return f"{_read('loader')}\n\nload({PRIVATE_PACKAGE!r}, {read_texts()!r})\n"


def _read(name: str) -> str:
    return (files("tui_params.live.inside") / f"{name}.py").read_text(encoding="utf-8")
