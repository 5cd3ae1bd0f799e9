"""``tui-params check --rules``: every rule, with its thresholds and its source."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tui_params.cli.output import Output, write_json
from tui_params.core.findings import SEVERITY_WORDS
from tui_params.core.health.registry import RULES
from tui_params.core.health.rule import Rule
from tui_params.core.health.thresholds import MEANINGS, Thresholds


def print_rules(thresholds: Thresholds, *, as_json: bool, as_markdown: bool) -> None:
    """Print the table of the rules, with the thresholds that a check would use now."""
    if as_json:
        write_json({"rules": [entry(rule, thresholds) for rule in RULES], "thresholds": MEANINGS})
        return
    output = Output()
    output.lines(markdown(thresholds) if as_markdown else lines(thresholds, output))


def entry(rule: Rule, thresholds: Thresholds) -> dict[str, Any]:
    """One rule in the document of ``--json``."""
    return {
        "id": rule.id,
        "title": rule.title,
        "severities": rule.severities,
        "meaning": rule.meaning,
        "source": rule.source,
        "thresholds": {shown(name): getattr(thresholds, name) for name in rule.thresholds},
    }


def shown(name: str) -> str:
    """The name of a threshold on the command line."""
    return name.replace("_", "-")


def lines(thresholds: Thresholds, output: Output) -> Iterator[str]:
    """The rules and the thresholds as lines for a person."""
    for title, is_container in (("Tensors", False), ("Containers", True)):
        yield output.style(title, "bold")
        for rule in RULES:
            if (rule.scope == "container") is not is_container:
                continue
            yield f"  {rule.id:<26}{output.style(_severities(rule), 'dim')}"
            yield f"      {rule.meaning}"
            if rule.thresholds:
                yield f"      {_values(rule, thresholds)}"
            yield output.style(f"      source: {rule.source}", "dim")
        yield ""
    yield output.style('Thresholds (--threshold NAME=VALUE, or "thresholds" in config.json)', "bold")
    for name, meaning in MEANINGS.items():
        yield f"  {shown(name):<24}{getattr(thresholds, name):<12g}{meaning}"


def markdown(thresholds: Thresholds) -> Iterator[str]:
    """The rules as a Markdown table."""
    yield "| rule | severity | meaning | thresholds | source |"
    yield "| --- | --- | --- | --- | --- |"
    for rule in RULES:
        yield f"| `{rule.id}` | {_severities(rule)} | {rule.meaning} | {_values(rule, thresholds)} | {rule.source} |"


def _severities(rule: Rule) -> str:
    return ", ".join(SEVERITY_WORDS[severity] for severity in rule.severities)


def _values(rule: Rule, thresholds: Thresholds) -> str:
    return ", ".join(f"{shown(name)} {getattr(thresholds, name):g}" for name in rule.thresholds)
