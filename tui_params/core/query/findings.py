"""The values of ``finding:``: a severity, rules by a part of their names, or yes and no."""

from __future__ import annotations

import re
from functools import cache

from tui_params.core.query.names import is_glob, translate_glob
from tui_params.errors import QueryError

_SEVERITY_SPELLINGS = {
    "error": "error",
    "errors": "error",
    "warning": "warning",
    "warnings": "warning",
    "info": "info",
    "remark": "info",
    "remarks": "info",
}
"""The severities by all their spellings."""


@cache
def _rules() -> dict[str, tuple[bool, frozenset[str]]]:
    """Every rule by its id: whether its findings come only with a check of everything, and its severities."""
    from tui_params.core.health.registry import RULES

    return {rule.id: (rule.scope != "tensor", frozenset(rule.severities)) for rule in RULES}


def findings_called(word: str) -> frozenset[str]:
    """The rules, or the severity, that a word in lower case means.

    A rule is meant by any part of its name, or by a glob of the whole name. A severity is meant by its name or, if no
    rule has the word in its name, by the beginning of it. Raises QueryError for a word that means neither.
    """
    if word in _SEVERITY_SPELLINGS:
        return frozenset({_SEVERITY_SPELLINGS[word]})
    pattern = re.compile("(?s)" + translate_glob(word if is_glob(word) else f"*{word}*"))
    found = frozenset(rule for rule in _rules() if pattern.fullmatch(rule))
    if not found:
        found = frozenset(severity for written, severity in _SEVERITY_SPELLINGS.items() if written.startswith(word))
    if not found:
        says = f"no such rule; the choices are error, warning, info, {', '.join(list(_rules())[:12])}, ..."
        raise QueryError(says, 0, len(word))
    return found


def needs_check(word: str) -> bool:
    """Whether a tensor that was read may still get such a finding when everything is checked."""
    if word in {"yes", "no"}:
        return True
    found = findings_called(word)
    return any(is_late and (rule in found or severities & found) for rule, (is_late, severities) in _rules().items())
