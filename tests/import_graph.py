"""Who imports whom in the package, with the names that are taken: anywhere in a file, for types only too."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

Graph = Mapping[str, Mapping[str, frozenset[str]]]
"""By module, the modules of the package that it imports, and what it takes from each."""


def module_name(path: Path, root: Path) -> str:
    """``tui_params/core/text.py`` is ``tui_params.core.text``, a package's ``__init__.py`` the package."""
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def read_graph(package: Path) -> Graph:
    """The imports of every file below ``package``, on whichever line they stand: function-level and type-only too."""
    root = package.parent
    paths = {module_name(path, root): path for path in sorted(package.rglob("*.py"))}
    graph: dict[str, dict[str, frozenset[str]]] = {}
    for module, path in paths.items():
        taken: dict[str, set[str]] = {}
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for prefix in _prefixes(tree):
            for target in paths:
                if target.startswith(prefix) and target != module:
                    taken.setdefault(target, set()).add(f"{prefix}...")
        for target, name in _imports(tree, module, path.stem == "__init__"):
            # ``from a import b``: b may be a module of its own, or a name in a.
            if f"{target}.{name}" in paths:
                taken.setdefault(f"{target}.{name}", set()).add(name)
            elif target in paths and target != module:
                taken.setdefault(target, set()).add(name or target)
        graph[module] = {target: frozenset(names) for target, names in taken.items()}
    return graph


def _imports(tree: ast.Module, module: str, is_package: bool) -> Iterator[tuple[str, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = module.split(".")[: len(module.split(".")) - node.level + is_package]
                base = ".".join([*above, base] if base else above)
            yield from ((base, alias.name) for alias in node.names)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            # A module that is named in a table is imported by way of that table: "package.module" or "...:name".
            target, _, name = node.value.partition(":")
            yield target, name


def _prefixes(tree: ast.Module) -> Iterator[str]:
    """What ``import_module(f"package.room.{name}")`` begins with: any module there may be meant."""
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Call)
            and (node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")) == "import_module"
            and node.args
            and isinstance(node.args[0], ast.JoinedStr)
            and isinstance(first := node.args[0].values[0], ast.Constant)
        ):
            yield str(first.value)


def circles(graph: Graph) -> list[list[str]]:
    """The groups of modules of which each imports, by some way, each other (Tarjan's strongly connected components)."""
    order: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(module: str) -> None:
        order[module] = low[module] = len(order)
        stack.append(module)
        for target in graph[module]:
            if target not in order:
                visit(target)
                low[module] = min(low[module], low[target])
            elif target in stack:
                low[module] = min(low[module], order[target])
        if low[module] == order[module]:
            at = stack.index(module)
            group = stack[at:]
            del stack[at:]
            if len(group) > 1:
                found.append(sorted(group))

    for module in graph:
        if module not in order:
            visit(module)
    return found


def describe(circle: list[str], graph: Graph) -> str:
    """What ties a circle: ``a -> b: the names that a takes from b``, a line for each import within it."""
    return "\n".join(
        f"{module} -> {target}: {', '.join(sorted(names))}"
        for module in circle
        for target, names in sorted(graph[module].items())
        if target in circle
    )
