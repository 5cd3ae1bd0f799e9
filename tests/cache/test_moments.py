"""Kept moments: a run that is opened again is not read, and what has changed is."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import numpy as np
import pytest

from tests.factories_screen import PATIENCE
from tests.factories_timeline import write_step
from tui_params.api.opening import open_source
from tui_params.api.timelines import timeline
from tui_params.cache.figures import ENVIRONMENT
from tui_params.cache.folder import CacheFolder
from tui_params.cache.moments import RunMoments
from tui_params.core.compare.timeline import _Reel, read_timeline
from tui_params.core.compare.tracks import Moment, Step, Timeline
from tui_params.core.source import Source
from tui_params.errors import StoppedError
from tui_params.tui.desk.timeline_desk import RunEnded, TimelineDesk, TracksRead
from tui_params.tui.state.run import Run
from tui_params.tui.state.track_rows import TrackRow


@pytest.fixture(autouse=True)
def small_files_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tui_params.cache.figures.MIN_FILE_BYTES", 1)
    monkeypatch.setattr("tui_params.cache.figures.SETTLED_NS", 0)


@pytest.fixture
def store(tmp_path: Path) -> CacheFolder:
    return CacheFolder(tmp_path / "cache", 1 << 20, 100)


@contextmanager
def opened(paths: list[Path]) -> Iterator[list[Source]]:
    with ExitStack() as stack:
        yield [stack.enter_context(open_source(path)) for path in paths]


def look(paths: list[Path], store: CacheFolder) -> tuple[Timeline, dict[str, list[Moment | None]]]:
    """The timeline, and what was known before it was read."""
    with opened(paths) as sources:
        kept = RunMoments(store, sources)
        names = dict.fromkeys(info.name for source in sources for info in source.listing.tensors)
        known = {name: kept.known(name) for name in names}
        found = read_timeline([Step(str(at)) for at in range(len(paths))], sources, known=known.__getitem__)
        for track in found.tracks:
            kept.put(track)
        kept.flush(is_whole=True)
        return found, known


def arrays(at: int) -> dict[str, Any]:
    random = np.random.default_rng(at)
    step = {"a.weight": random.standard_normal((8, 4), np.float32), "b.weight": np.full(6, at // 2, np.float32)}
    if at == 1:
        step["b.weight"] = np.array([np.nan, 1, 2], np.float32)  # another shape
    if at == 2:
        del step["a.weight"]
    return step


def test_a_run_that_is_opened_again_is_known_and_what_changed_is_not(tmp_path: Path, store: CacheFolder) -> None:
    paths = [write_step(tmp_path, 100 * at, arrays(at)) for at in range(5)]
    first, known = look(paths, store)
    assert not any(moment for moments in known.values() for moment in moments)
    again, known = look(paths, store)
    assert again == first
    assert {track.name: list(track.moments) for track in first.tracks} == known

    # Without its first step each tensor's first moment has nothing to be compared with; the rest is still known.
    fewer, known = look(paths[1:], store)
    moments = {name: [moment is not None for moment in some] for name, some in known.items()}
    assert moments == {"a.weight": [False, False, True, True], "b.weight": [True, False, True, True]}
    assert fewer.tracks[0].moments[1] is None

    # Another content of the same size: neither it nor the step that follows is known.
    _, known = look(paths, store)
    path = write_step(tmp_path, 300, {name: array + 1 for name, array in arrays(3).items()}) / "model.safetensors"
    os.utime(path, (1.7e9, 1.7e9))
    changed, known = look(paths, store)
    assert [moment is not None for moment in known["a.weight"]] == [True, True, False, False, False]
    with opened(paths) as sources:
        assert changed == read_timeline(changed.steps, sources)


def test_a_kept_file_that_is_damaged_counts_as_none(tmp_path: Path, store: CacheFolder) -> None:
    paths = [write_step(tmp_path, 100 * at, arrays(at)) for at in (0, 3)]
    first, _ = look(paths, store)
    files = sorted((tmp_path / "cache").glob("*.moments"))
    assert len(files) == 2
    for file in files:
        file.write_bytes(file.read_bytes()[:-3] + b"abc")
    again, known = look(paths, store)
    assert again == first
    assert not any(moment for moments in known.values() for moment in moments)
    assert store.complaint is not None
    assert "is ignored" in store.complaint


def test_the_screen_reads_nothing_of_a_run_that_it_knows(
    tmp_path: Path, store: CacheFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_by_desk() -> list[TrackRow]:
        posts: SimpleQueue[object] = SimpleQueue()
        desk = TimelineDesk(Run((str(tmp_path / "run"),)), 7, posts.put, store)
        rows: list[TrackRow] = []
        while not isinstance(message := posts.get(timeout=PATIENCE), RunEnded):
            rows += message.rows if isinstance(message, TracksRead) else ()
        assert message.reason == ""
        desk.close(PATIENCE)
        return sorted(rows, key=lambda row: row.name)

    for at in range(5):
        write_step(tmp_path / "run", 100 * at, arrays(at))
    first = read_by_desk()
    assert [row.name for row in first] == ["a.weight", "b.weight"]
    reads: list[object] = []
    monkeypatch.setattr("tui_params.core.compare.timeline._Reel.read", lambda *_: reads.append(_))
    assert read_by_desk() == first
    assert reads == []


def test_the_command_and_the_function_read_nothing_of_a_run_that_they_know(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(ENVIRONMENT, str(tmp_path / "cache"))
    for at in range(5):
        write_step(tmp_path / "run", 100 * at, arrays(at))
    folder = tmp_path / "run"
    first = timeline(folder)
    reads: list[object] = []
    read = _Reel.read

    def counted(reel: _Reel, start: int, stop: int) -> Any:
        reads.append(reel)
        return read(reel, start, stop)

    monkeypatch.setattr(_Reel, "read", counted)
    assert timeline(folder) == first
    assert reads == []
    # Another step is read together with the one before it, and nothing else.
    write_step(folder, 500, arrays(5))
    assert [moment for track in timeline(folder).tracks for moment in track.moments[:5]] == [
        moment for track in first.tracks for moment in track.moments
    ]
    assert len(reads) == 4
    monkeypatch.setenv(ENVIRONMENT, "off")
    timeline(folder)
    assert len(reads) > 10
    assert len(list((tmp_path / "cache").iterdir())) == 6


def test_what_was_read_before_it_was_stopped_is_kept(tmp_path: Path, store: CacheFolder) -> None:
    for at in range(3):
        write_step(tmp_path / "run", 100 * at, arrays(0))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(ENVIRONMENT, str(tmp_path / "cache"))
        told: list[int] = []

        def stop() -> bool:
            told.append(0)
            return len(told) > 1

        with pytest.raises(StoppedError):
            timeline(tmp_path / "run", should_stop=stop, threads=1)
    paths = [tmp_path / "run" / f"checkpoint-{100 * at}" for at in range(3)]
    with opened(paths) as sources:
        kept = RunMoments(store, sources)
        known = [all(kept.known(name)) for name in ("a.weight", "b.weight")]
    assert any(known)
    assert not all(known)
