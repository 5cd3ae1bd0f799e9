"""Several processes over a real server: each fetches its share, and nothing is fetched twice but what all must see."""

from __future__ import annotations

import pytest

from tests.ranks.conftest import write_planted
from tests.servers.nginx import nginx
from tui_params.cli.app import run


def test_two_processes_fetch_what_one_fetches(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TUI_PARAMS_CACHE", "off")
    with nginx() as server:
        write_planted(server.root)
        size = (server.root / "model-2.safetensors").stat().st_size
        printed = []
        for jobs in ("1", "2"):
            run(["stats", f"{server.url}/model-2.safetensors", "--json", "--jobs", jobs])
            printed.append(capfd.readouterr().out)
        served = sum(nbytes for _, _, _, nbytes in server.served())
    assert printed[0] == printed[1] != ""
    # By one process, and again by two together.
    assert served < 2.1 * size
