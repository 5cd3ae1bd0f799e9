"""What ``finding:`` can ask for: a severity, rules by a part of their names, or whether there is any finding."""

from __future__ import annotations

import re
from functools import cache

from tui_params.core.query.names import is_glob, translate_glob
from tui_params.errors import QueryError

SEVERITIES = {
    "error": "error",
    "errors": "error",
    "warning": "warning",
    "warnings": "warning",
    "info": "info",
    "remark": "info",
    "remarks": "info",
}
"""How a severity may be written."""


@cache
def _rules() -> dict[str, tuple[bool, frozenset[str]]]:
    """Every rule: whether only a check of everything can tell, and what severities it has."""
    from tui_params.core.health.registry import RULES

    return {rule.id: (rule.scope != "tensor", frozenset(rule.severities)) for rule in RULES}


def findings_called(word: str) -> frozenset[str]:
    """The rules, or the severity, that a word in lower case asks for.

    A rule is meant by any part of its name, or a glob of all of it; a severity by its name or, where no rule has that
    in its name, its beginning. Raises QueryError for a word that means nothing.
    """
    if word in SEVERITIES:
        return frozenset({SEVERITIES[word]})
    pattern = re.compile("(?s)" + translate_glob(word if is_glob(word) else f"*{word}*"))
    found = frozenset(rule for rule in _rules() if pattern.fullmatch(rule))
    if not found:
        found = frozenset(severity for written, severity in SEVERITIES.items() if written.startswith(word))
    if not found:
        says = f"no such rule; there are error, warning, info, {', '.join(list(_rules())[:12])}, ..."
        raise QueryError(says, 0, len(word))
    return found


def needs_check(word: str) -> bool:
    """Whether a tensor that was read may still get such a finding, when everything has been checked."""
    if word in {"yes", "no"}:
        return True
    found = findings_called(word)
    return any(is_late and (rule in found or severities & found) for rule, (is_late, severities) in _rules().items())
