"""A checkpoint that is listed by a process of its own: what it answers, and what comes of it when it cannot."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import tui_params
from tests.factories_safetensors import small_file, write_index
from tests.factories_terminal import running_in_terminal
from tui_params.tui.desk import listing_process

SCRIPT = """
import json, os, signal, sys, warnings
warnings.simplefilter("error")
from tui_params.cache import listings
from tui_params.tui.desk import listing_process
from tui_params.tui.desk.pending_source import PendingSource
listing_process.MIN_BYTES = 10
listings.SETTLED_NS = -10**12
os.sched_getaffinity = lambda number: {0, 1}
found = []

def opened(listing, path):
    names = []
    def open_it():
        from tui_params.sources.detect import open_path
        names.append("opened here")
        return open_path(path)
    pending = PendingSource("x", open_it, listing=listing)
    source = pending._future.result(60).source
    names += [info.name for info in source.listing.tensors]
    names.append(source.read("b").tolist()[:2])
    return names

# The first one begins before there is any thread, and so do those that follow: each ends before.
import threading
def alone():
    for thread in threading.enumerate():
        if thread is not threading.current_thread():
            thread.join(60)
whole, folder, cut = sys.argv[1:]
for path in (whole, folder, whole, cut):
    listing = listing_process.begin(path)
    assert listing is not None, path
    found.append(opened(listing, path))
    alone()
listing = listing_process.begin(whole)
os.kill(listing._number, signal.SIGKILL)
found.append(opened(listing, whole))
alone()
threading.Thread(target=threading.Event().wait, daemon=True).start()
found.append(listing_process.begin(whole))
try:
    os.waitpid(-1, os.WNOHANG)
    found.append("a child is left")
except ChildProcessError:
    pass
print(json.dumps(found))
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux forks safely")
def test_the_answer_is_what_opening_finds(tmp_path: Path) -> None:
    folder, cut = tmp_path / "folder", tmp_path / "cut"
    folder.mkdir()
    cut.mkdir()
    (folder / "model.safetensors").write_bytes(small_file())
    write_index(folder, dict.fromkeys("abc", "model.safetensors"))
    whole = folder / "model.safetensors"
    (cut / "model.safetensors").write_bytes(small_file()[:-1])
    paths = [str(whole), str(folder), str(cut / "model.safetensors")]
    kept = tmp_path / "kept"
    environment = {"PYTHONPATH": str(Path(tui_params.__file__).parents[1]), "TUI_PARAMS_CACHE": str(kept)}
    command = [sys.executable, "-c", SCRIPT, *paths]
    result = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False, env=environment)
    assert result.returncode == 0, result.stderr
    listed, again, once_more, faulty, killed, with_threads = json.loads(result.stdout)
    values = listed[-1]
    assert listed == again == once_more == ["a", "b", "c", values]
    # One that is no columns alone, and one whose process died, are opened as any other.
    assert faulty == killed == ["opened here", "a", "b", "c", values]
    assert with_threads is None
    assert len(list(kept.glob("*.listing"))) == 2


def test_what_a_server_may_not_answer_for_is_looked_at_by_the_process_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mounts = tmp_path / "mounts"
    monkeypatch.setattr(listing_process, "_MOUNTS", str(mounts))
    mounts.write_text("/dev/sda / ext4 rw 0 0\nhost:/x /data nfs4 rw 0 0\n/dev/sdb /data/local xfs rw 0 0\n")
    monkeypatch.setattr(listing_process, "_is_large", lambda path: pytest.fail("looked at"))
    monkeypatch.setattr("threading.active_count", lambda: 1)
    monkeypatch.setattr("os.sched_getaffinity", lambda number: {0, 1}, raising=False)
    monkeypatch.setattr("os.memfd_create", lambda name: (_ for _ in ()).throw(OSError("no more")), raising=False)
    found = {
        place: listing_process._may_hang(Path(place)) for place in ("/data", "/data/a/b", "/data/local/a", "/database")
    }
    assert found == {"/data": True, "/data/a/b": True, "/data/local/a": False, "/database": False}
    assert listing_process.begin("/data/a/b") is None
    mounts.unlink()
    assert not listing_process._may_hang(Path("/data"))


def test_small_ones_and_what_cannot_be_opened_need_no_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fork() -> int:
        raise AssertionError("forked")

    monkeypatch.setattr("os.fork", fork, raising=False)
    monkeypatch.setattr("threading.active_count", lambda: 1)
    small = tmp_path / "small.safetensors"
    small.write_bytes(small_file())
    no_header = tmp_path / "other.safetensors"
    no_header.write_bytes((1 << 40).to_bytes(8, "little") + b"{")
    for given in (small, no_header, tmp_path, tmp_path / "nothing", "hf://org/model", "~nobody-of-that-name/x", "a\0b"):
        assert listing_process.begin(str(given)) is None


IN_TERMINAL = """
import os, sys
from tui_params.tui.desk import listing_process, pending_source
listing_process.MIN_BYTES = 10
os.sched_getaffinity = lambda number: {0, 1}

def opened_here(*arguments):
    raise AssertionError("opened a second time")

pending_source._open = opened_here
from tui_params.cli.terminal import open_explorer
sys.exit(open_explorer(sys.argv[1]) or 0)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux forks safely")
def test_the_explorer_shows_what_the_process_has_listed(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(small_file(("layers.0.weight", "layers.1.weight", "norm.weight")))
    script = IN_TERMINAL.replace("sys.argv[1]", repr(str(path)))
    with running_in_terminal(script, tmp_path, os.environ) as terminal:
        terminal.wait_for(b"norm")
        terminal.type(b"q")
        assert terminal.wait_for_end() == 0
