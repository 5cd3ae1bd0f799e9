"""Storages that the pickle names and no tensor that is listed is of: torch reads them all the same."""

from __future__ import annotations

import pytest

from tui_params.sources.inert_pickle.values import Storage, Stub
from tui_params.sources.torch_save.layout import Place, TensorLister

FLOATS = Stub("torch", "FloatStorage")
AT_HOME = Place(64, 16)


@pytest.mark.parametrize(
    ("place", "numel", "severity", "words"),
    [
        (AT_HOME, 4, None, ""),
        (AT_HOME, 5, "error", "its storage claims 20 bytes, and 16 are in the file, so torch refuses the file"),
        (AT_HOME, 3, "error", "its storage claims 12 bytes, and 16 are in the file, so torch refuses the file"),
        (AT_HOME, -1, "error", "has a storage of malformed size"),
        (Place(None, 0, "it is not in the file", is_faulty=True), 4, "error", "so torch refuses the file"),
        (Place(None, 0, "it is compressed"), 4, "warning", "what no tensor shown here is of: it is compressed"),
    ],
)
def test_what_is_wrong_with_one_is_told(place: Place, numel: int, severity: str | None, words: str) -> None:
    lister = TensorLister("x.pt", lambda key: place, is_exact=True)
    lister.add_unlisted([Storage(FLOATS, "0", "cpu", numel)] * 2)
    if severity is None:
        assert lister.findings == []
        return
    finding = lister.findings[0]
    assert (finding.severity, finding.rule, finding.tensor) == (severity, "storage-bounds", None)
    assert words in finding.evidence


def test_a_key_that_is_no_text_is_told_and_none_is_passed_over() -> None:
    lister = TensorLister("x.pt", lambda key: AT_HOME)
    lister.add_unlisted([Storage(FLOATS, {}, "cpu", 4), Storage(FLOATS, None, "meta", 4)])
    (finding,) = lister.findings
    assert finding.evidence == "what no tensor shown here is of has a malformed storage key"
