"""What the user may set: read with care, and complained about in one sentence."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.factories_memory import MemorySource
from tests.factories_screen import on_stage
from tui_params.core.health.thresholds import Thresholds
from tui_params.core.reading.outcome import Outcome
from tui_params.core.reading.tensor_reading import summarize
from tui_params.settings import Settings, load, load_limits, path
from tui_params.tui import keys
from tui_params.tui.desk.desk import Desk
from tui_params.tui.state.opened import prepare
from tui_params.tui.terminal import themes

IDS = ("search", "quit", "tree.down")


def test_without_a_file_nothing_is_set_and_nothing_is_wrong(tmp_path: Path) -> None:
    assert load(IDS, tmp_path / "config.json") == (Settings(), None)


def test_a_file_sets_theme_and_keys(tmp_path: Path) -> None:
    file = tmp_path / "config.json"
    file.write_text('{"theme": "nord", "keys": {"search": "slash,f", "quit": "Q"}}')
    assert load(IDS, file) == (Settings("nord", {"search": "slash,f", "quit": "Q"}), None)


@pytest.mark.parametrize(
    "words", ["", "{", "[]", '{"theme": 3}', '{"colour": "red"}', '{"keys": {"quit": 1}}', "\x00", "null"]
)
def test_a_broken_file_is_one_sentence(words: str, tmp_path: Path) -> None:
    file = tmp_path / "config.json"
    file.write_text(words)
    settings, complaint = load(IDS, file)
    assert settings == Settings()
    assert complaint is not None
    assert str(file) in complaint
    assert "\n" not in complaint


def test_what_is_fetched_by_itself_is_a_number_of_bytes(tmp_path: Path) -> None:
    file = tmp_path / "config.json"
    file.write_text('{"fetch_below": 0}')
    assert load(IDS, file) == (Settings(fetch_below=0), None)
    file.write_text('{"fetch_below": -1}')
    settings, complaint = load(IDS, file)
    assert settings.fetch_below == 8_000_000
    assert complaint is not None
    assert "fetch_below" in complaint


def test_an_unknown_id_of_a_key_is_reported_with_one_that_is_like_it_and_the_others_apply(tmp_path: Path) -> None:
    file = tmp_path / "config.json"
    file.write_text('{"keys": {"serch": "f", "quit": "Q", "zzz": "z"}}')
    settings, complaint = load(IDS, file)
    assert settings == Settings(keys={"quit": "Q"})
    assert complaint == f"{file}: no key has the id 'serch' (did you mean search?); no key has the id 'zzz'"


def test_the_explorer_knows_the_ids_of_all_its_keys(tmp_path: Path) -> None:
    file = tmp_path / "config.json"
    tables = (*keys.TREE, *keys.SCREEN, *keys.COMPARE, *keys.VALUES)
    file.write_text(json.dumps({"keys": {key.id: "f9" for key in tables}}))
    settings, complaint = load(keys.IDS, file)
    assert complaint is None
    assert len(settings.keys) == len(tables)


def test_a_file_sets_thresholds(tmp_path: Path) -> None:
    file = tmp_path / "config.json"
    file.write_text(
        '{"theme": "nord", "thresholds": {"abs-max-warning": 2e4, "dead_share": 0.5}, "keys": {"quit": "Q"}}'
    )
    settings, complaint = load(IDS, file)
    assert complaint is None
    assert settings.limits == Thresholds(abs_max_warning=2e4, dead_share=0.5)
    assert load_limits(file) == (settings.limits, None)
    assert load_limits(tmp_path / "none.json") == (Thresholds(), None)


def test_a_wrong_threshold_is_told_and_the_rest_applies(tmp_path: Path) -> None:
    file = tmp_path / "config.json"
    file.write_text('{"thresholds": {"speed": 3, "dead-share": -1, "sibling-z": 9}}')
    for limits, complaint in (load_limits(file), (load(IDS, file)[0].limits, load(IDS, file)[1])):
        assert limits == Thresholds(sibling_z=9)
        assert complaint is not None
        assert complaint.startswith(f"{file}: there is no threshold 'speed'; the thresholds are ")
        assert complaint.endswith("; the threshold dead-share is -1, but must be finite and not negative")
    file.write_text('{"thresholds": {"sibling-z": "nine"}}')
    assert load_limits(file)[0] == Thresholds()
    assert load_limits(file)[1] is not None


def test_the_explorer_judges_by_the_thresholds_that_are_set() -> None:
    source = MemorySource({"a.weight": np.full((2, 2), 2e4, np.float32)})
    outcome = Outcome("a.weight", summarize(source, source.find("a.weight")).figures(4), None, True)
    for limits, rules in ((Thresholds(), {"abs-max", "constant"}), (Thresholds(abs_max_warning=1e5), {"constant"})):
        desk = Desk(prepare(source), 1, lambda message: None, None, limits)
        assert {finding.rule for finding in desk._judged(outcome)[1]} == rules
        desk.close()


def test_a_file_of_no_text_is_one_sentence(tmp_path: Path) -> None:
    file = tmp_path / "config.json"
    file.write_bytes(b"\xff\xfe\x00{")
    settings, complaint = load(IDS, file)
    assert settings == Settings()
    assert complaint is not None


def test_a_folder_in_its_place_is_one_sentence(tmp_path: Path) -> None:
    settings, complaint = load(IDS, tmp_path)
    assert settings == Settings()
    assert complaint is not None
    assert "cannot be read" in complaint


def test_the_file_lies_in_the_configuration_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert path().name == "config.json"
    assert path().parent.name == "tui-params"


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"COLORTERM": "truecolor"}, "quiet-dark"),
        ({"COLORTERM": "24BIT"}, "quiet-dark"),
        ({"COLORTERM": ""}, "ansi-dark"),
        ({}, "ansi-dark"),
        ({"TUI_PARAMS_THEME": "nord"}, "nord"),
    ],
)
def test_the_first_theme_is_what_the_terminal_can_show(environ: dict[str, str], expected: str) -> None:
    assert themes.first_theme(environ) == expected


async def test_the_complaint_is_shown_as_it_is_written() -> None:
    async with on_stage(complaint="config.json is not used: [red] is odd") as stage:
        notices = list(stage.app._notifications)
        assert [notice.message for notice in notices] == ["config.json is not used: [red] is odd"]
        assert "[red] is odd" in stage.text.replace("\n", " ") or not notices[0].markup


async def test_keys_of_the_user() -> None:
    async with on_stage(settings=Settings("quiet-dark", {"search": "f", "tree.down": "w,down"})) as stage:
        first = stage.cursor
        await stage.press("w")
        assert stage.cursor != first
        await stage.press("f")
        assert stage.screen.search.display
        await stage.press("escape", "slash")
        assert not stage.screen.search.display


async def test_unknown_ids_of_keys_harm_nothing() -> None:
    async with on_stage(settings=Settings("quiet-dark", {"no.such.id": "f", "quit": ""})) as stage:
        await stage.press("down", "f")
        assert stage.app.is_running


async def test_a_theme_that_does_not_exist_is_told_and_another_taken() -> None:
    async with on_stage(settings=Settings("no-such-theme")) as stage:
        assert stage.app.theme in stage.app.available_themes
        assert "no-such-theme" in next(iter(stage.app._notifications)).message
        assert "embed.weight" in stage.text


async def test_a_theme_of_the_environment_that_does_not_exist_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUI_PARAMS_THEME", "no-such-theme")
    async with on_stage(settings=Settings()) as stage:
        assert "no-such-theme" in next(iter(stage.app._notifications)).message
