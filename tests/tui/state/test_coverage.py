"""What is said about how much was read: nothing is called right that was not read and cross-checked."""

from __future__ import annotations

import pytest

from tui_params.tui.state.coverage import Coverage


@pytest.mark.parametrize(
    ("coverage", "sentence"),
    [
        (Coverage(0, 0, 0), "There are no tensors here."),
        (Coverage(9, 0, 0), "Nothing has been read yet; S reads everything."),
        (Coverage(9, 3, 0), "3 of 9 tensors read whole; S reads the rest."),
        (Coverage(9, 3, 0, is_sweeping=True), "3 of 9 tensors read whole so far."),
        (Coverage(9, 8, 1), "8 of 9 tensors read whole; 1 could not be read; S cross-checks them."),
        (Coverage(9, 9, 0, is_cross_checking=True), "All 9 tensors read whole. Cross-checking the tensors."),
        (Coverage(9, 9, 0, is_checked=True), "All 9 tensors read whole and cross-checked."),
        (Coverage(1, 1, 0), "The one tensor was read whole; S cross-checks it."),
        (Coverage(1, 1, 0, is_checked=True), "The one tensor was read whole and cross-checked."),
        (Coverage(9, 0, 9, is_checked=True), "0 of 9 tensors read whole and cross-checked; 9 could not be read."),
    ],
)
def test_the_sentence_counts_what_was_read(coverage: Coverage, sentence: str) -> None:
    assert coverage.sentence == sentence


@pytest.mark.parametrize(
    ("coverage", "words", "style"),
    [
        (Coverage(9, 0, 0), "", "text"),
        (Coverage(1, 1, 0), "Nothing wrong was found in the one that was read.", "text"),
        (Coverage(9, 1, 0), "Nothing wrong was found in the one that was read.", "text"),
        (Coverage(9, 3, 0), "Nothing wrong was found in the 3 that were read.", "text"),
        (Coverage(9, 9, 0), "Nothing wrong was found in the tensors that were read.", "text"),
        (Coverage(9, 9, 0, is_checked=True), "Nothing wrong was found.", "success"),
        (Coverage(0, 0, 0, is_checked=True), "", "text"),
        (Coverage(9, 0, 9, is_checked=True), "", "text"),
    ],
)
def test_the_conclusion_is_green_only_after_a_check_of_everything(coverage: Coverage, words: str, style: str) -> None:
    assert coverage.conclusion == (words, style)
