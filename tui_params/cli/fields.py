"""The fields that each command prints with ``--json``: what ``--help`` and the README say, and a test holds true.

A word in quotes is a field. Behind a colon stands what it is, where the name does not say it; braces without quotes
are objects whose names are data. Lines of at most 78 characters.
"""

from __future__ import annotations

LS = """\
{"source", "format", "metadata": {name: text},
 "totals": {"tensors", "numel", "nbytes", "dtypes": {dtype: bytes}},
 "findings": [{"severity", "rule", "tensor", "evidence", "indices"}],
 "tensors": [{"name", "shape", "dtype", "numel", "nbytes",
   "kind": tensor | parameter | buffer, "tied_to": a name or null, "location",
   "unreadable": the reason or null, "storage_shape": bytes of packed types,
   "notes"}],
 "kinds": with --kinds, in place of tensors [{"kind", "count",
   "numbers": ranges for each #, "shapes", "distinct_shapes", "dtypes",
   "numel", "nbytes", "tied": how many, "unreadable": how many}]}"""

STATS = """\
{"source", "tensors": [{"name", "shape", "dtype", "numel", "nbytes",
   "summary": null if unchecked {"count", "finite", "nan", "pos_inf",
     "neg_inf", "zeros", "subnormals", "at_max", "min", "max", "mean", "std",
     "abs_max", "l2_norm", "rms", "quantiles": {probability: value},
     "exact", "quantiles_exact", "quantile_error": relative, "sampled",
     "parts": 2 of complex numbers},
   "unchecked": the reason or null}]}"""

VALUES = """\
{"name", "slice", "dtype", "shape", "values": nested lists; here NaN and the
   infinities are the texts nan, inf, -inf, and complex numbers are pairs}"""

CHECK = """\
{"source", "status": ok | findings (errors or warnings) | unchecked,
 "checked": tensors that were read whole, "tensors": that there are,
 "findings": [{"severity": error | warning | info (a remark), "rule",
   "tensor": null is the container, "evidence", "indices": the first places}],
 "unchecked": [{"tensor": null is the source itself, "reason"}],
 "not_opened": files beside the model of which nothing is known}"""

RULES = """\
{"rules": [{"id", "title", "severities", "meaning", "source",
   "thresholds": {name: value}}],
 "thresholds": {name: meaning}}"""

DIFF = """\
{"a", "b", "status": same | different | uncompared,
 "rtol", "atol", "ignore_dtype",
 "renames", "suggested_renames": [{"renames", "matches"}],
 "only_in_a", "only_in_b", "implied": [{"name", "in": a | b, "reason"}],
 "identical": how many, "identical_names": with --names,
 "equal": as changed, but no value is beyond the tolerance,
 "changed": [{"name", "name_in_b", "change": shape | dtype | values,
   "shape_a", "shape_b", "dtype_a", "dtype_b", "max_abs", "mean_abs",
   "relative_l2", "cosine", "changed_fraction", "changed_count", "count",
   "pairs": finite on both sides, "first_index", "became_nan", "was_nan",
   "became_inf", "was_inf", "reason": why no value was compared}],
 "changed_type", "changed_type_and_value": how many of changed,
 "uncompared": [{"name", "reason"}],
 "kinds": [{"kind", "count", "changed", "equal", "identical", "uncompared",
   "max_abs", "relative_l2", "cosine", "elements", "changed_elements",
   "other_shape", "other_dtype", "new_nan", "new_inf", "unread",
   "worst": a name or null}],
 "not_opened_a", "not_opened_b": files beside the model}"""


def epilog(*blocks: str) -> str:
    """The end of a command's help, as click takes it: lines that are not filled anew."""
    parts = ["\b\nFields of --json (more may come, none goes; NaN and infinities are null):\n" + blocks[0]]
    parts += [f"\b\n{block}" for block in blocks[1:]]
    return "\n\n".join(parts)
