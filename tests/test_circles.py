"""No import circle of any kind, and what such a circle would look like."""

from __future__ import annotations

from pathlib import Path

import tui_params
from tests.import_graph import circles, describe, read_graph

PACKAGE = Path(tui_params.__file__).parent


def package_of(folder: Path, texts: dict[str, str]) -> Path:
    package = folder / "house"
    for name, text in {"__init__.py": "", **texts}.items():
        path = package / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return package


def test_no_module_imports_itself_by_way_of_others() -> None:
    graph = read_graph(PACKAGE)
    assert "tui_params.core.tensor" in graph["tui_params.core.source"]  # something was read
    assert [describe(circle, graph) for circle in circles(graph)] == []


def test_a_circle_is_found_on_whichever_line_its_imports_stand(tmp_path: Path) -> None:
    texts = {
        "a.py": "from house import b\n",
        "b.py": "def f():\n    from house.room.c import g, h\n",
        "room/__init__.py": "",
        "room/c.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from .. import a\n",
        "d.py": "import house.a\nfrom .room import c\n",
    }
    graph = read_graph(package_of(tmp_path, texts))
    (circle,) = circles(graph)
    assert describe(circle, graph).splitlines() == [
        "house.a -> house.b: b",
        "house.b -> house.room.c: g, h",
        "house.room.c -> house.a: a",
    ]


def test_a_module_that_a_table_names_is_imported_too(tmp_path: Path) -> None:
    texts = {
        "a.py": "TABLE = {'x': 'house.b:main'}\n",
        "b.py": "import house.a\n",
    }
    graph = read_graph(package_of(tmp_path, texts))
    assert circles(graph) == [["house.a", "house.b"]]


def test_a_module_that_is_made_of_a_text_may_be_any_of_its_room(tmp_path: Path) -> None:
    texts = {
        "a.py": "from importlib import import_module\ndef f(name):\n    import_module(f'house.room.{name}')\n",
        "room/__init__.py": "",
        "room/c.py": "from house.a import f\n",
        "room/d.py": "",
    }
    graph = read_graph(package_of(tmp_path, texts))
    (circle,) = circles(graph)
    assert describe(circle, graph).splitlines() == [
        "house.a -> house.room.c: house.room....",
        "house.room.c -> house.a: f",
    ]


def test_what_only_leads_downwards_is_no_circle(tmp_path: Path) -> None:
    texts = {"a.py": "from house import b, c\n", "b.py": "from house.c import x\n", "c.py": "import house\n"}
    assert circles(read_graph(package_of(tmp_path, texts))) == []
