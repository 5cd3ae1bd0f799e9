"""TokensAsked: the texts of the rows of an embedding, for a lens, if a tokenizer lies beside the checkpoint."""

from __future__ import annotations

from collections.abc import Hashable

from tui_params.core.tensor import TensorInfo
from tui_params.core.vocabulary import Vocabulary, may_be_tokens
from tui_params.sources.vocabulary import MAX_NBYTES, read_vocabulary
from tui_params.tui.desk.tensor_desk import Answer, Task, TensorDesk


class TokensAsked:
    """One slot of the desk, in which the tokenizer beside one tensor is read."""

    def __init__(self, desk: TensorDesk, slot: str) -> None:
        self._desk = desk
        self._slot = slot
        self._asked: Hashable = None
        self._rows = 0
        self.vocabulary: Vocabulary | None = None
        self.reason: str | None = None
        """Why the rows have no texts, though there is a tokenizer."""

    @property
    def is_settled(self) -> bool:
        return self._asked is None

    def want(self, info: TensorInfo, key: Hashable) -> None:
        """Read the tokenizer of a tensor whose rows may stand for tokens; forget the one before."""
        if self._asked is not None:
            self._desk.stop(self._slot)
        self._asked = self.vocabulary = self.reason = None
        if not may_be_tokens(info) or info.unreadable is not None:
            return
        source, self._rows = self._desk.source, info.shape[0]
        beside = self._desk.most_beside()
        most = MAX_NBYTES if beside is None else min(MAX_NBYTES, beside)

        def work(task: Task) -> Vocabulary | None:
            task.check()
            found = source.data_file(info)
            return None if found is None else read_vocabulary(found[0].path.parent, most)

        self._asked = key
        self._desk.ask(self._slot, key, work)

    def take(self, answer: Answer) -> bool:
        """Take an answer; False if it was not awaited here."""
        if answer.slot != self._slot or answer.key != self._asked:
            return False
        self._asked, self.reason = None, answer.reason
        if isinstance(answer.result, Vocabulary):
            found, rows = answer.result, self._rows
            if found.size <= rows:
                self.vocabulary = found
            else:
                self.reason = f"{found.file} has {found.size:,} tokens, this table {rows:,} rows: no text is shown"
        return True
