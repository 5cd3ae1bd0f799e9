"""The cache of statistics: what it returns, when it forgets, and everything that may be wrong with a disk."""

from __future__ import annotations

import errno
import itertools
import math
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.factories_memory import MemorySource
from tests.factories_numbers import READABLE, pack_codes, part_of, special_codes
from tests.factories_safetensors import entry, file_bytes, write_index
from tui_params.api.opening import open_source
from tui_params.cache import figures as module
from tui_params.cache.figures import FigureCache, Measured, SourceCache
from tui_params.cache.records import (
    ENGINE,
    Identity,
    describe_layout,
    file_name,
    layout,
    pack,
    tensor_key,
    unpack,
)
from tui_params.core.channels import Channel, Channels, Side
from tui_params.core.dtypes import from_torch
from tui_params.core.figure_records import decode_record, encode_record
from tui_params.core.figures import Figures
from tui_params.core.numbers.summary import Summary
from tui_params.core.source import Source
from tui_params.core.tensor import TensorInfo, describe

ROOT = Path(__file__).parents[2]


def figures(numel: int, seed: int = 0) -> Figures:
    """Exact figures of a tensor, other ones for every seed."""
    low, high = -1.5 - seed, 2.5 + seed
    return Figures(
        numel=numel, parts=1, count=numel, finite=numel, nan=0, pos_inf=0, neg_inf=0, zeros=seed, subnormals=0,
        min=low, max=high, mean=0.1, std=0.25, abs_max=high, l2_norm=3.0, rms=0.3, quantiles=(low, 0.0, high),
        is_exact=True, quantiles_exact=False, quantile_error=0.004, spark=(1, 2, seed), spark_low=low, spark_high=high,
    )  # fmt: skip


CHANNELS = Channels(Side(4, 1, (3,), 0.5, (Channel(2, 1.5), Channel(0, 0.5))), None)


def write_model(path: Path, *shapes: tuple[int, ...]) -> Path:
    """A checkpoint of float32 tensors ``t0``, ``t1``, ... whose data are a hole; together more than 1 MiB."""
    header, begin = {}, 0
    for number, shape in enumerate(shapes or ((512, 512), (64, 64), (300,))):
        header[f"t{number}"] = entry("F32", shape, begin)
        begin = header[f"t{number}"]["data_offsets"][1]
    start = file_bytes(header, b"")
    with path.open("wb") as file:
        file.write(start)
        file.truncate(len(start) + begin)
    return path


@pytest.fixture(autouse=True)
def _without_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let files that were written a moment ago be old enough, and a flush last as long as it takes."""
    monkeypatch.setattr(module, "SETTLED_NS", -(10**18))
    monkeypatch.setattr(module, "FLUSH_SECONDS", math.inf)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_model(tmp_path / "model.safetensors")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "figures"


def part(cache: FigureCache, path: Path) -> tuple[Source, SourceCache]:
    source = open_source(path)
    found = cache.for_source(source)
    assert found is not None
    return source, found


def remember(folder: Path, path: Path, seed: int = 0, channels: Channels | None = None) -> None:
    """Have figures of every tensor of a file kept."""
    source, found = part(FigureCache(folder), path)
    for info in source.listing.tensors:
        found.put(info, figures(info.numel, seed), channels)
    found.flush(is_last=True)
    source.close()


def recall(folder: Path, path: Path) -> list[Measured | None]:
    source, found = part(FigureCache(folder), path)
    with source:
        return [found.get(info) for info in source.listing.tensors]


# Records

integers = st.integers(0, 2**80)
floats = st.floats(allow_nan=False, allow_infinity=False)
either = st.none() | floats | st.integers(-(2**80), 2**80)
sides = st.builds(
    Side,
    count=integers,
    dead=integers,
    first_dead=st.lists(integers, max_size=3).map(tuple),
    median_abs_max=floats,
    largest=st.lists(st.builds(Channel, index=integers, abs_max=floats), max_size=3).map(tuple),
)
measured = st.builds(
    Measured,
    figures=st.builds(
        Figures,
        **dict.fromkeys(
            ("numel", "parts", "count", "finite", "nan", "pos_inf", "neg_inf", "zeros", "subnormals"), integers
        ),
        **dict.fromkeys(("min", "max", "abs_max"), either),
        **dict.fromkeys(("mean", "std", "l2_norm", "rms", "spark_low", "spark_high"), st.none() | floats),
        quantiles=st.lists(floats, max_size=9).map(tuple),
        spark=st.lists(integers, max_size=16).map(tuple),
        is_exact=st.booleans(),
        quantiles_exact=st.booleans(),
        quantile_error=floats,
    ),
    channels=st.none() | st.builds(Channels, rows=sides, columns=st.none() | sides),
)


@settings(max_examples=150)
@given(measured)
def test_a_record_comes_back_as_it_was(value: Measured) -> None:
    found = decode_record(encode_record(value.figures, value.channels))
    assert found == value
    # 1 == 1.0, but an integer's minimum is shown as one.
    assert repr(found) == repr(value)


@pytest.mark.parametrize("dtype", READABLE, ids=lambda dtype: dtype.name)
def test_what_the_engine_computes_is_kept(dtype: Any) -> None:
    part = part_of(dtype)
    codes = special_codes(part)
    codes *= 2 if dtype.is_complex else 1
    numel = len(codes) // (2 if dtype.is_complex else 1)
    summary = Summary.of(pack_codes(codes, part.bits), dtype, numel).figures(numel)
    assert summary.is_exact
    assert decode_record(encode_record(summary, None)) == Measured(summary, None)


def test_the_layout_knows_every_field_and_the_engine() -> None:
    class Other(msgspec.Struct):
        numel: int

    class Renamed(msgspec.Struct):
        count: int

    renamed = type("Other", (), {"__annotations__": {"numel": "float"}})
    layouts = {describe_layout(1, Figures), describe_layout(2, Figures), describe_layout(1, Figures, Channels)}
    layouts |= {describe_layout(1, Other), describe_layout(1, Renamed), describe_layout(1, renamed)}
    assert len(layouts) == 6


def test_records_without_the_count_at_the_largest_value_are_of_another_layout() -> None:
    fields = {name: kind for name, kind in Figures.__annotations__.items() if name not in ("at_max", "below_max")}
    before = type("Figures", (), {"__annotations__": fields})
    structs = (Identity, Channels, Side, Channel)
    assert describe_layout(ENGINE, Measured, before, *structs) != describe_layout(ENGINE, Measured, Figures, *structs)
    assert describe_layout(ENGINE - 1, Measured, Identity, Figures, Channels, Side, Channel) != layout()


def test_tensors_that_differ_in_anything_have_keys_of_their_own() -> None:
    float32, int32 = from_torch("float32"), from_torch("int32")
    assert float32 is not None
    assert int32 is not None
    info = describe("a", (2, 3), float32)
    change: Callable[..., TensorInfo] = msgspec.structs.replace
    others = [
        change(info, name="b"),
        change(info, name="\ud800"),
        change(info, dtype=int32),
        change(info, shape=(3, 2)),
        change(info, offset=0),
        change(info, offset=8),
        change(info, stride=(1, 2)),
    ]
    assert len({tensor_key(one) for one in [info, *others]}) == len(others) + 1
    assert tensor_key(change(info, notes=("a note",), requires_grad=True)) == tensor_key(info)


# What comes back, and what does not


def test_the_second_opening_knows_what_the_first_computed(folder: Path, model: Path) -> None:
    assert recall(folder, model) == [None, None, None]
    remember(folder, model, seed=7, channels=CHANNELS)
    numels = [512 * 512, 64 * 64, 300]
    assert recall(folder, model) == [Measured(figures(numel, 7), CHANNELS) for numel in numels]
    assert [path.stat().st_mode & 0o777 for path in folder.iterdir()] == [0o600]
    assert folder.stat().st_mode & 0o777 == 0o700


def test_what_is_put_is_known_before_it_is_written(folder: Path, model: Path) -> None:
    source, found = part(FigureCache(folder), model)
    info = source.find("t1")
    found.put(info, figures(info.numel), CHANNELS)
    assert found.get(info) == Measured(figures(info.numel), CHANNELS)
    assert not folder.exists()
    found.put(info, figures(info.numel), None)  # knows less, says nothing else
    assert found.get(info) == Measured(figures(info.numel), CHANNELS)


def test_what_is_not_exact_is_not_kept(folder: Path, model: Path) -> None:
    source, found = part(FigureCache(folder), model)
    info = source.find("t1")
    found.put(info, msgspec.structs.replace(figures(info.numel), is_exact=False), None)
    found.put(info, msgspec.structs.replace(figures(info.numel), count=1), None)
    found.flush(is_last=True)
    assert (found.get(info), folder.exists()) == (None, False)


def rewrite(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"\1")


def rewrite_and_set_the_time_back(path: Path) -> None:
    before = path.stat()
    rewrite(path)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def extend(path: Path) -> None:
    before = path.stat()
    with path.open("ab") as file:
        file.write(bytes(4))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def copy_over(path: Path) -> None:
    before, content = path.stat(), path.read_bytes()
    other = path.with_suffix(".other")
    other.write_bytes(content)
    os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
    os.replace(other, path)


@pytest.mark.parametrize("change", [rewrite, rewrite_and_set_the_time_back, extend, copy_over])
def test_a_file_that_changed_is_not_known(folder: Path, model: Path, change: Callable[[Path], None]) -> None:
    remember(folder, model)
    source, found = part(FigureCache(folder), model)
    info = source.find("t1")
    assert found.get(info) is not None
    # The clock of a file system moves in steps.
    while (folder.parent / "clock").write_bytes(b"") or (
        folder.parent / "clock"
    ).stat().st_mtime_ns <= model.stat().st_ctime_ns:
        pass
    change(model)
    assert recall(folder, model) == [None, None, None]
    # And what was computed by who had opened it before is not said of it.
    found.put(info, figures(info.numel, 1), CHANNELS)
    found.flush(is_last=True)
    assert recall(folder, model) == [None, None, None]
    assert found.get(info) is None


def test_a_file_under_another_path_is_another_file(folder: Path, model: Path, tmp_path: Path) -> None:
    remember(folder, model)
    (tmp_path / "link").symlink_to(model)
    assert None not in recall(folder, tmp_path / "link")
    other = write_model(tmp_path / "other.safetensors")
    assert recall(folder, other) == [None, None, None]


def test_another_layout_is_not_read(folder: Path, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    remember(folder, model)
    (kept,) = folder.iterdir()
    data = kept.read_bytes()
    kept.write_bytes(data.replace(layout(), describe_layout(99, Figures)))
    source, _ = part(FigureCache(folder), model)
    cache = FigureCache(folder)
    found = cache.for_source(source)
    assert found is not None
    assert found.get(source.find("t0")) is None
    assert cache.complaint == "a file of kept statistics is ignored: it is of another version"
    monkeypatch.setattr("tui_params.cache.records.layout", lambda: describe_layout(99, Figures))
    assert file_name(os.fsencode(model)) != kept.name


def test_a_file_that_was_written_a_moment_ago_is_not_trusted(
    folder: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SETTLED_NS", 2_000_000_000)
    changed = max(model.stat().st_mtime_ns, model.stat().st_ctime_ns)
    monkeypatch.setattr(time, "time_ns", lambda: changed + 2_000_000_000)
    remember(folder, model)
    assert recall(folder, model) == [None, None, None]
    monkeypatch.setattr(time, "time_ns", lambda: changed + 2_000_000_001)
    remember(folder, model)
    assert None not in recall(folder, model)
    os.utime(model, ns=(0, changed + 10**12))  # a clock that is ahead of ours
    remember(folder, model)
    assert recall(folder, model) == [None, None, None]


def test_shards_have_a_file_each_that_serves_them_alone_too(folder: Path, tmp_path: Path) -> None:
    shards = tmp_path / "shards"
    shards.mkdir()
    for number in (1, 2):
        header = {f"s{number}": entry("F32", (512, 1024), 0)}
        (shards / f"model-{number}.safetensors").write_bytes(file_bytes(header, bytes(512 * 1024 * 4)))
    write_index(shards, {"s1": "model-1.safetensors", "s2": "model-2.safetensors"})
    remember(folder, shards)
    assert len(list(folder.iterdir())) == 2
    assert None not in recall(folder, shards)
    assert None not in recall(folder, shards / "model-2.safetensors")
    rewrite(shards / "model-1.safetensors")
    (shards / "model-2.safetensors").rename(shards / "model-3.safetensors")
    assert recall(folder, shards / "model-1.safetensors") == [None]


def test_a_tied_tensor_is_found_by_its_first_name(folder: Path, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    weight = torch.zeros(512, 1024)
    path = tmp_path / "tied.pt"
    torch.save({"embed": weight, "head": weight, "view": weight[:, :3]}, path)
    source, found = part(FigureCache(folder), path)
    assert source.find("head").tied_to == "embed"
    found.put(source.find("head"), figures(512 * 1024), CHANNELS)
    found.flush(is_last=True)
    known = dict(zip((info.name for info in source.listing.tensors), recall(folder, path), strict=True))
    assert known["embed"] == known["head"] == Measured(figures(512 * 1024), CHANNELS)
    assert known["view"] is None


def test_models_in_memory_and_small_files_are_not_kept(folder: Path, tmp_path: Path) -> None:
    assert FigureCache(folder).for_source(MemorySource({"a": np.zeros(1 << 20, np.float32)})) is None
    small = write_model(tmp_path / "small.safetensors", (8, 8))
    assert FigureCache(folder).for_source(open_source(small)) is None


def test_a_source_that_was_closed_can_still_be_flushed(folder: Path, model: Path) -> None:
    source, found = part(FigureCache(folder), model)
    info = source.find("t1")
    source.close()
    found.put(info, figures(info.numel), None)
    found.flush(is_last=True)
    assert recall(folder, model)[1] is not None


# Where it lies


def test_the_environment_names_the_folder_or_turns_it_off(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TUI_PARAMS_CACHE", str(tmp_path / "here"))
    assert FigureCache().folder == tmp_path / "here"
    assert FigureCache(tmp_path / "there").folder == tmp_path / "there"
    for off in ("0", "off", "OFF"):
        monkeypatch.setenv("TUI_PARAMS_CACHE", off)
        cache = FigureCache()
        assert (cache.folder, cache.complaint, cache.usage().files, cache.clear().files) == (None, None, 0, 0)
        assert cache.for_source(MemorySource({})) is None
    monkeypatch.setenv("TUI_PARAMS_CACHE", "")
    monkeypatch.setattr("platformdirs.user_cache_path", lambda name: tmp_path / name)
    assert FigureCache().folder == tmp_path / "tui-params" / "figures"
    monkeypatch.setattr("platformdirs.user_cache_path", lambda name: Path("~") / name)
    assert FigureCache().folder is None
    assert FigureCache().complaint == "no statistics are kept, because this user has no home folder"


# Disks and other people


def test_damage_at_any_byte_is_noticed(folder: Path, model: Path) -> None:
    remember(folder, model, channels=CHANNELS)
    (kept,) = folder.iterdir()
    data = kept.read_bytes()
    unpack(data)
    for place in range(len(data)):
        broken = bytearray(data)
        broken[place] ^= 1 << place % 8
        with pytest.raises(ValueError, match="it is"):
            unpack(bytes(broken))
        with pytest.raises(ValueError, match="it is"):
            unpack(data[:place])
    for content in (b"", data[:-1], data[: len(data) // 2], bytes(len(data)), data + b"\0"):
        kept.write_bytes(content)
        assert recall(folder, model) == [None, None, None]
    remember(folder, model)
    assert None not in recall(folder, model)


def test_a_record_that_is_none_is_a_miss(folder: Path, model: Path) -> None:
    remember(folder, model)
    (kept,) = folder.iterdir()
    identity, records = unpack(kept.read_bytes())
    for record in (
        b"\xc0",
        b"\x92\x01\x02",
        b"\xc4\x02[]",
        b"\xc4\x01{",
        b"\xc4\x01\xff",
        b"\xa1x",
        b"\x93\xc0\xc0\xc0",
    ):
        kept.write_bytes(pack(identity, dict.fromkeys(records, record)))
        assert recall(folder, model) == [None, None, None]
    # A record of a tensor of another size is not said of this one.
    kept.write_bytes(pack(identity, dict.fromkeys(records, encode_record(figures(300), None))))
    assert [found is not None for found in recall(folder, model)] == [False, False, True]


def test_links_are_not_followed(folder: Path, model: Path, tmp_path: Path) -> None:
    remember(folder, model)
    (kept,) = folder.iterdir()
    elsewhere = tmp_path / "elsewhere"
    kept.rename(elsewhere)
    before = elsewhere.read_bytes()
    kept.symlink_to(elsewhere)
    assert recall(folder, model) == [None, None, None]
    remember(folder, model, seed=1)
    assert not kept.is_symlink()
    assert elsewhere.read_bytes() == before
    kept.unlink()
    os.mkfifo(kept)
    assert recall(folder, model) == [None, None, None]


def test_a_folder_of_others_is_not_used(folder: Path, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    remember(folder, model)
    cache = FigureCache(folder)
    source, found = part(cache, model)
    folder.chmod(0o777)
    assert found.get(source.find("t0")) is None
    assert cache.complaint == f"what is kept in {folder} cannot be read: other users may write to the folder"
    folder.chmod(0o700)
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    source, found = part(cache, model)
    found.put(source.find("t0"), figures(512 * 512, 3), None)
    found.flush(is_last=True)
    assert cache.complaint == f"nothing can be kept in {folder}: the folder belongs to another user"


def failing(real: Callable[..., Any], number: int, fails: Callable[..., bool]) -> Callable[..., Any]:
    def called(*arguments: Any, **options: Any) -> Any:
        if fails(*arguments):
            raise OSError(number, os.strerror(number))
        return real(*arguments, **options)

    return called


@pytest.mark.parametrize(
    ("name", "number", "fails"),
    [
        ("open", errno.EROFS, lambda path, flags, *_: bool(flags & os.O_CREAT)),
        ("open", errno.EACCES, lambda path, flags, *_: bool(flags & os.O_DIRECTORY)),
        ("write", errno.ENOSPC, lambda *_: True),
        ("replace", errno.EDQUOT, lambda *_: True),
        ("mkdir", errno.EROFS, lambda *_: True),
    ],
)
def test_what_cannot_be_written_is_still_known_and_said(
    folder: Path, model: Path, monkeypatch: pytest.MonkeyPatch, name: str, number: int, fails: Callable[..., bool]
) -> None:
    cache = FigureCache(folder)
    source, found = part(cache, model)
    info = source.find("t0")
    found.put(info, figures(info.numel), None)
    with monkeypatch.context() as patch:
        patch.setattr(os, name, failing(getattr(os, name), number, fails))
        found.flush()
        reason = os.strerror(number)
        assert cache.complaint == f"nothing can be kept in {folder}: {reason[:1].lower() + reason[1:]}"
        assert found.get(info) == Measured(figures(info.numel), None)
        assert not folder.exists() or list(folder.iterdir()) == []
    found.flush()  # not so soon again
    assert not folder.exists() or list(folder.iterdir()) == []
    found.flush(is_last=True)
    assert recall(folder, model)[0] == Measured(figures(info.numel), None)


def test_a_disk_that_fills_up_leaves_what_was_there(folder: Path, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    remember(folder, model)
    real, calls = os.write, itertools.count()

    def write(descriptor: int, data: memoryview) -> int:
        if next(calls):
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(descriptor, data[:100])

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", write)
        remember(folder, model, seed=5)
    assert next(calls) == 2
    assert len(list(folder.iterdir())) == 1
    assert recall(folder, model)[2] == Measured(figures(300), None)


# Others at the same time


def test_two_who_write_keep_what_both_know(folder: Path, model: Path) -> None:
    source, one = part(FigureCache(folder), model)
    _, two = part(FigureCache(folder), model)
    infos = source.listing.tensors
    assert one.get(infos[0]) is None
    assert two.get(infos[0]) is None
    one.put(infos[0], figures(infos[0].numel), None)
    one.flush(is_last=True)
    two.put(infos[1], figures(infos[1].numel), None)
    two.flush(is_last=True)
    one.put(infos[2], figures(infos[2].numel), None)
    one.flush(is_last=True)
    assert None not in recall(folder, model)
    assert one.get(infos[1]) is not None  # came with the writing


WRITER = """
import sys
from pathlib import Path
from tests.cache.test_cache import figures, module, part
from tui_params.cache.figures import FigureCache
module.SETTLED_NS, module.FLUSH_SECONDS = -10**18, float("inf")
source, found = part(FigureCache(Path(sys.argv[1])), Path(sys.argv[2]))
mine = source.listing.tensors[int(sys.argv[3])::2]
print("ready", flush=True)
sys.stdin.readline()
for info in mine:
    found.put(info, figures(info.numel, int(info.name[1:])), None)
    found.flush(is_last=True)
print(found._folder.complaint)
"""


def test_two_processes_never_spoil_a_file(folder: Path, tmp_path: Path) -> None:
    path = write_model(tmp_path / "many.safetensors", *[(64, 128)] * 80)
    command = [sys.executable, "-c", WRITER, str(folder), str(path)]
    writers = [
        subprocess.Popen([*command, start], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for start in ("0", "1")
    ]
    for writer in writers:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "ready\n"
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.write("go\n")
        writer.stdin.flush()
    source = open_source(path)
    infos = source.listing.tensors
    # Who reads meanwhile sees whole files only.
    while any(writer.poll() is None for writer in writers):
        cache = FigureCache(folder)
        found = cache.for_source(source)
        assert found is not None
        for info in infos:
            assert found.get(info) in (None, Measured(figures(info.numel, int(info.name[1:])), None))
        assert cache.complaint is None
    for writer in writers:
        out, _ = writer.communicate()
        assert (writer.returncode, out) == (0, "None\n")
    known = recall(folder, path)
    # What one of them wrote at the last is there, whatever an update of the same instant has lost.
    assert sum(found is not None for found in known) >= 40
    assert len(list(folder.iterdir())) == 1


def test_threads_may_put_get_and_flush_at_once(folder: Path, tmp_path: Path) -> None:
    path = write_model(tmp_path / "many.safetensors", *[(64, 128)] * 40)
    source, found = part(FigureCache(folder), path)
    infos = source.listing.tensors
    errors: list[AssertionError] = []

    def work(number: int) -> None:
        try:
            for info in infos[number::4]:
                found.put(info, figures(info.numel, number), None)
                found.flush(is_last=number == 0)
                assert found.get(info) == Measured(figures(info.numel, number), None)
        except AssertionError as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found.flush(is_last=True)
    assert errors == []
    assert None not in recall(folder, path)


def test_it_may_be_cleared_while_it_is_open(folder: Path, model: Path) -> None:
    remember(folder, model)
    (folder / "notes.txt").write_text("not ours")
    source, found = part(FigureCache(folder), model)
    info = source.find("t0")
    assert found.get(info) is not None
    assert FigureCache(folder).usage().files == 1
    removed = FigureCache(folder).clear()
    assert removed.files == 1
    assert removed.nbytes > 300
    assert [path.name for path in folder.iterdir()] == ["notes.txt"]
    assert FigureCache(folder).usage() == type(removed)(0, 0)
    assert found.get(info) is not None
    (folder / "notes.txt").unlink()
    folder.rmdir()
    found.put(info, figures(info.numel, 2), CHANNELS)
    found.flush(is_last=True)
    assert recall(folder, model)[0] == Measured(figures(info.numel, 2), CHANNELS)
    assert FigureCache(folder / "nowhere").clear().files == 0


# Bounds


def test_the_least_recently_used_give_way(folder: Path, tmp_path: Path) -> None:
    models = [write_model(tmp_path / f"{number}.safetensors") for number in range(4)]
    for number, path in enumerate(models[:3]):
        remember(folder, path)
        name = file_name(os.fsencode(path.resolve()))
        os.utime(folder / name, (10**9 + number, 10**9 + number))
    each = max(path.stat().st_size for path in folder.iterdir())
    (folder / "precious.txt").write_text("x" * 10_000)
    recall(folder, models[0])  # used now
    source, found = part(FigureCache(folder, max_bytes=3 * each + 100), models[3])
    for info in source.listing.tensors:
        found.put(info, figures(info.numel), None)
    found.flush(is_last=True)
    assert [None not in recall(folder, path) for path in models] == [True, False, True, True]
    assert (folder / "precious.txt").exists()
    os.utime(folder / file_name(os.fsencode(models[2].resolve())), (10**9, 10**9))
    source, found = part(FigureCache(folder, max_files=3), models[1])
    found.put(source.listing.tensors[0], figures(512 * 512), None)
    found.flush(is_last=True)
    assert [path.exists() for path in (folder / file_name(os.fsencode(one.resolve())) for one in models)] == [
        True, True, False, True
    ]  # fmt: skip


def test_use_is_noted_once_a_day(folder: Path, model: Path) -> None:
    remember(folder, model)
    (kept,) = folder.iterdir()
    now = time.time()
    os.utime(kept, (now - 3600, now - 3600))
    recall(folder, model)
    assert kept.stat().st_mtime == pytest.approx(now - 3600, abs=1)
    os.utime(kept, (now - 90_000, now - 90_000))
    recall(folder, model)
    assert kept.stat().st_mtime >= now - 60


def test_what_dead_processes_left_is_swept_away(folder: Path, model: Path) -> None:
    remember(folder, model)
    (kept,) = folder.iterdir()
    for name, age in (("00", 7200), ("11", 60)):
        left = folder / f".{kept.name}.{name}.part"
        left.write_bytes(b"half")
        os.utime(left, (time.time() - age,) * 2)
    remember(folder, model, seed=1)
    assert sorted(path.name for path in folder.iterdir()) == sorted([kept.name, f".{kept.name}.11.part"])


def test_more_than_the_whole_cache_is_not_written(folder: Path, model: Path) -> None:
    cache = FigureCache(folder, max_bytes=300)
    source, found = part(cache, model)
    for info in source.listing.tensors:
        found.put(info, figures(info.numel), CHANNELS)
    found.flush(is_last=True)
    assert not folder.exists()
    assert cache.complaint is not None
    assert "more than the cache of 300 B holds" in cache.complaint


def test_a_flush_rests_between_two_writings_and_stops_in_time(
    folder: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, found = part(FigureCache(folder), model)
    infos = source.listing.tensors
    monkeypatch.setattr(module, "REST", 10**12)
    found.put(infos[0], figures(infos[0].numel), None)
    found.flush()
    found.put(infos[1], figures(infos[1].numel), None)
    found.flush()
    assert [one is not None for one in recall(folder, model)] == [True, False, False]
    monkeypatch.setattr(module, "FLUSH_SECONDS", -1.0)
    found.flush(is_last=True)
    assert [one is not None for one in recall(folder, model)] == [True, False, False]
    monkeypatch.setattr(module, "FLUSH_SECONDS", math.inf)
    found.flush(is_last=True)
    assert [one is not None for one in recall(folder, model)] == [True, True, False]
