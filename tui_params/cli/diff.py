"""``tui-params diff``: what changed between two checkpoints, and what did not."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from tui_params.cli.compare_progress import CompareProgress
from tui_params.cli.completion import complete_path
from tui_params.cli.exit_codes import FAILED, FOUND, OK
from tui_params.cli.fetched import say_fetched
from tui_params.cli.fields import DIFF, epilog
from tui_params.cli.numbers import Tolerance
from tui_params.cli.output import Output, complain, finding_entry, write_json
from tui_params.cli.reader_option import Reader, open_chosen, reader_option
from tui_params.cli.team_option import team_option
from tui_params.sources.given import shown

if TYPE_CHECKING:
    from tui_params.core.compare.comparer import Comparison
    from tui_params.core.compare.packed import Packed
    from tui_params.core.compare.renames import Rename
    from tui_params.core.compare.verdict import Change
    from tui_params.core.source import Listing
    from tui_params.core.team import Team


@click.command(name="diff", short_help="Show what changed between two sources.", epilog=epilog(DIFF))
@click.argument("a", shell_complete=complete_path)
@click.argument("b", shell_complete=complete_path)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.option("--rtol", type=Tolerance(), default=0.0, metavar="R", help="Tolerance relative to the value in A.")
@click.option("--atol", type=Tolerance(), default=0.0, metavar="A", help="Absolute tolerance.")
@click.option(
    "--rename",
    "expressions",
    multiple=True,
    metavar="OLD=NEW",
    help="Rename tensors of A first, see above; may be repeated.",
)
@click.option("--auto-rename", is_flag=True, help="Apply the suggested renames.")
@click.option("--ignore-dtype", is_flag=True, help="A different element type alone is no difference.")
@click.option("--names", is_flag=True, help="List every name, not kinds and the largest changes.")
@team_option
@reader_option
def command(
    a: str,
    b: str,
    as_json: bool,
    rtol: float,
    atol: float,
    expressions: tuple[str, ...],
    auto_rename: bool,
    ignore_dtype: bool,
    names: bool,
    reader: Reader,
    team: Team | None,
) -> int:
    """Compare A and B: names, shapes and element types, then every value.

    Tensors with the same bytes are identical; a different shape or element type is a difference. Otherwise an element
    changed if |b - a| > atol + rtol |a|, whatever the element types; NaN equals NaN, and 0.0 equals -0.0.

    To see whether bf16 is a faithful copy of f32: --ignore-dtype --rtol 0.004.

    Renames are applied in order, before names are matched:

    \b
    module.=           the start of a name: a prefix goes; =module. adds one
    gamma=weight       the start or, where a name does not start with gamma, its
                       last segments: norm.gamma becomes norm.weight
    .gamma=.weight     the last segments alone
    *attn.=attention.  every segment that starts with attn.
    /REGEX/=NEW        every match of a regular expression; \\1 in NEW is its
                       first group; upper and lower case differ
    b:OLD=NEW          any of these for tensors of B

    A tensor that is on one side alone, has another shape, or has the same values in another order is looked for on the
    other side: under another name, reshaped, transposed, with its rows or columns in another order, or as a part of a
    fused or stacked tensor. What is found is equal bit for bit, and still a difference. What was not tried is counted.
    Not looked for: two tensors of one shape that changed places, the other dimensions of a convolution in another
    order, and two such changes at once (transposed, and its rows in another order).

    The optimizer and the other states of a training run are compared too; where only one side holds such states, they
    are no difference.

    What is wrong with the files themselves is said below their names.

    Exit code 0: no difference. 1: a difference. 3: no difference was found, but not everything could be compared, one
    side is damaged or not whole, or there was nothing to compare. 2: wrong usage.
    """
    renames = [_rename(expression) for expression in expressions]
    found = _compare(a, b, rtol, atol, renames, auto_rename, ignore_dtype, reader, team)
    return _print(a, b, *found, as_json=as_json, names=names)


def compare_sources(a: str, b: str, reader: Reader) -> int:
    """Print what differs between two sources, as the command does without options; returns its exit code."""
    return _print(a, b, *_compare(a, b, 0.0, 0.0, [], False, False, reader), as_json=False, names=False)


def _print(
    a: str, b: str, comparison: Comparison, listings: tuple[Listing, Listing], *, as_json: bool, names: bool
) -> int:
    a, b = shown(a), shown(b)
    if as_json:
        not_opened = (listings[0].not_opened, listings[1].not_opened)
        write_json(document(a, b, comparison, names=names, not_opened=not_opened))
    else:
        from tui_params.cli.diff_text import lines

        output = Output()
        output.lines(lines(comparison, (a, b), listings, output, names=names))
    if comparison.state == "uncompared":
        if as_json:
            complain(_why_unknown(comparison))
        return FAILED
    return FOUND if comparison.state == "different" else OK


def _why_unknown(comparison: Comparison) -> str:
    """Why it is not known whether both are the same."""
    from tui_params.core.text import plural

    if comparison.reason is not None:
        return f"nothing was compared: {comparison.reason}"
    if comparison.uncompared or comparison.doubt is None:
        return f"{plural(len(comparison.uncompared), 'tensor')} could not be compared"
    return f"the tensors are equal, but {comparison.doubt}"


def _rename(expression: str) -> Rename:
    from tui_params.core.compare.renames import parse_rename

    try:
        return parse_rename(expression)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--rename") from None


def _compare(
    a: str,
    b: str,
    rtol: float,
    atol: float,
    renames: list[Rename],
    auto_rename: bool,
    ignore_dtype: bool,
    reader: Reader,
    team: Team | None = None,
) -> tuple[Comparison, tuple[Listing, Listing]]:
    """The comparison, and the listings of both sources. Raises OpenError."""
    from tui_params.api.comparing import compare

    with open_chosen(a, reader, team) as source_a, open_chosen(b, reader, team) as source_b:
        show = CompareProgress() if sys.stderr.isatty() else None
        try:
            comparison = compare(
                source_a,
                source_b,
                rtol=rtol,
                atol=atol,
                renames=renames,
                auto_rename=auto_rename,
                ignore_dtype=ignore_dtype,
                progress=show,
                team=team,
            )
        except ValueError as error:
            raise click.UsageError(str(error)) from None
        finally:
            if show is not None:
                show.clear()
        say_fetched(source_a, source_b)
        return comparison, (source_a.listing, source_b.listing)


def document(
    a: str,
    b: str,
    comparison: Comparison,
    *,
    names: bool = False,
    not_opened: tuple[tuple[str, ...], tuple[str, ...]] = ((), ()),
) -> dict[str, Any]:
    """The document of ``--json``; with ``names`` it also has the names of the identical tensors."""
    from tui_params.core.compare.changes_by_kind import group_changes

    retyped = [change for change in comparison.changed if change.change == "dtype"]
    found = {
        "a": a,
        "b": b,
        "status": comparison.state,
        "reason": comparison.reason,
        "doubt": comparison.doubt,
        "same_files": comparison.is_same_files,
        "rtol": comparison.rtol,
        "atol": comparison.atol,
        "ignore_dtype": comparison.ignore_dtype,
        "renames": [str(rename) for rename in comparison.applied],
        "unused_renames": [str(rename) for rename in comparison.unused],
        "collisions": [
            {"in": lost.side, "name": lost.name, "called": lost.called, "taken_by": lost.taken_by}
            for lost in comparison.collisions
        ],
        "suggested_renames": [
            {"renames": [str(rename) for rename in suggestion.renames], "matches": suggestion.matches}
            for suggestion in comparison.suggested
        ],
        "only_in_a": comparison.only_in_a,
        "only_in_b": comparison.only_in_b,
        "implied": [{"name": item.name, "in": item.side, "reason": item.reason} for item in comparison.implied],
        "identical": len(comparison.identical),
        "empty": comparison.empty,
        "equal": [_entry(change) for change in comparison.equal],
        "changed": [_entry(change) for change in comparison.changed],
        "changed_type": len(retyped),
        "changed_type_and_value": sum(bool(change.difference and change.difference.changed) for change in retyped),
        "uncompared": [
            {"name": item.name, "reason": item.reason, "only_in": item.side} for item in comparison.uncompared
        ],
        "adapted": [{"name": item.name, "relative": item.relative, "about": item.about} for item in comparison.adapted],
        "elsewhere": [
            {
                "a": relation.a,
                "b": relation.b,
                "how": relation.how,
                "slice_a": relation.slice_a,
                "slice_b": relation.slice_b,
                "is_transposed": relation.is_transposed,
            }
            for relation in comparison.elsewhere.relations
        ],
        "elsewhere_tried": comparison.elsewhere.tried,
        "elsewhere_untried": {untried.reason: untried.count for untried in comparison.elsewhere.untried},
        "kinds": [
            {
                **{name: getattr(group, name) for name in _OF_KIND},
                "worst": None if group.worst is None else group.worst.name,
            }
            for group in group_changes(comparison)
        ],
    }
    found["findings_a"] = [finding_entry(finding) for finding in comparison.findings_a]
    found["findings_b"] = [finding_entry(finding) for finding in comparison.findings_b]
    found["not_opened_a"], found["not_opened_b"] = not_opened
    if names:
        found["identical_names"] = comparison.identical
    return found


_DIFFERENCE = ("max_abs", "mean_abs", "relative_l2", "snr_db", "cosine", "changed_fraction")
_FIGURES = ("count", "pairs", "became_nan", "was_nan", "became_inf", "was_inf", "became_zero")
_OF_KIND = (
    "kind", "count", "changed", "equal", "identical", "uncompared", "max_abs", "relative_l2", "cosine", "elements",
    "changed_elements", "other_shape", "other_dtype", "new_nan", "new_inf", "unread",
    "became_nan", "became_inf", "became_zero",
)  # fmt: skip


def _entry(change: Change) -> dict[str, Any]:
    difference = change.difference
    return {
        "name": change.name,
        "name_in_b": change.name_in_b,
        "change": change.change,
        "shape_a": change.shape_a,
        "shape_b": change.shape_b,
        "dtype_a": change.dtype_a,
        "dtype_b": change.dtype_b,
        **{name: None if difference is None else getattr(difference, name) for name in _DIFFERENCE},
        "first_index": change.first_index,
        "first_broken_index": change.first_broken_index,
        "packed_a": _packed(change.packed_a),
        "packed_b": _packed(change.packed_b),
        "changed_count": None if difference is None else difference.changed,
        **{name: None if difference is None else getattr(difference, name) for name in _FIGURES},
        "reason": change.reason,
    }


def _packed(packed: Packed | None) -> dict[str, Any] | None:
    return None if packed is None else {name: getattr(packed, name) for name in ("method", "shape", "dtype")}
