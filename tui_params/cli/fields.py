"""The fields that each command prints with ``--json``, as its ``--help`` and ``.github/JSON.md`` show them.

A word in quotes is a field. A colon and what the field holds follow where the name does not say it; braces without
quotes are objects whose names are data. No line is longer than 78 characters. A test compares what is documented with
what the commands print.
"""

from __future__ import annotations

LS = """\
{"source", "format", "metadata": {name: text},
 "totals": {"tensors", "numel", "nbytes", "dtypes": {dtype: bytes},
   "gradients": how many there are beside the tensors},
 "models": if there are several [{"name", "files",
   "totals": as above {"tensors", "numel", "nbytes", "dtypes"}}],
 "findings": [{"severity", "rule", "tensor", "module", "file", "evidence",
   "indices"}],
 "adapters": [{"module", "name": of the adapter, "kind": LoRA | DoRA | ...,
   "rank": of its tensors, "stated_rank": of the configuration, "alpha",
   "scale": null where not known or not certain, "origin": of the alpha}],
 "tensors": [{"name", "shape", "dtype", "numel", "nbytes",
   "kind": tensor | parameter | buffer | array, "tied_to": a name or null,
   "location",
   "unreadable": the reason or null, "storage_shape": bytes, if packed,
   "packed": what a weight in bytes holds {"method", "shape", "dtype"},
   "notes"}],
 "kinds": with --kinds, in place of tensors [{"kind", "count": of tensors,
   "numbers": ranges for each #, "shapes", "distinct_shapes", "dtypes",
   "numel", "nbytes", "tied": how many, "unreadable": how many,
   "figures": null, or what the explorer has kept {"known": of how many
     tensors, "nan", "inf": how many of them have such values, "std",
     "abs_max": null or {"least", "median", "greatest"}}}]}"""

ATTACH = """\
{"serving": [{"pid", "name", "model": its class, "since": seconds since 1970,
   "steps": of optimizers since then, "age": seconds since the last step or
   null, "held": the step at whose end a viewer holds it, or null, "rank",
   "world_size": null outside a distributed job, "command",
   "reason": null, or why the process does not answer,
   "host": the address of another machine, or null}]}"""

WATCH = """\
{"watching": the first line {"pid", "name", "step": that was made last,
   "conditions", "tensors": names, "every_step": or whether they take turns,
   "left_out": {name: reason}},
 "event": a line for each {"step", "tensor", "kind": gradient | parameter |
   buffer | tensor, "condition": as written, "numel", "nan", "pos_inf",
   "neg_inf", "norm": of the finite values, "median": of the norms before, or
   null, "since": the step from which on it is still, or null,
   "scaled": by a GradScaler, "skipped": by it, "saved": path or null,
   "not_saved": why not, or null},
 "held": with --pause {"step": at whose end the training stands,
   "event_step", "seconds": at most},
 "released": {"step", "by": user | limit | watch},
 "end": the last line {"reason", "events", "first_step", "last_step",
   "looked": at so many steps, "missed": so many, "unlooked": {name: reason}}}"""

STATS = """\
{"source", "tensors": [{"name", "shape", "dtype", "numel", "nbytes",
   "summary": null if it is unchecked {"count", "finite", "nan", "pos_inf",
     "neg_inf", "zeros", "subnormals", "at_max", "min", "max", "mean", "std",
     "abs_max", "l2_norm", "rms", "quantiles": {probability: value},
     "exact", "quantiles_exact", "quantile_error": relative, "sampled",
     "parts": 2 for complex numbers, else 1},
   "unchecked": the reason or null}],
 "adapters": [{"module", "name", "kind", "rank", "stated_rank", "alpha",
   "scale", "origin",
   "norm": of what is added to the weight, or null, "relative": to base_norm,
   "unscaled_norm": of the product of the factors, where that is all that is
   known, "bound": whether both are upper bounds, "unknown": why norm is null,
   "remark", "base": the weight in the same source or null, "base_norm",
   "base_model"}]}"""

VALUES = """\
{"name", "slice", "dtype", "shape", "values": nested lists, in which NaN and
   infinities are the strings nan, inf and -inf, and complex numbers pairs}"""

CHECK = """\
{"source", "status": ok | findings (errors or warnings) | unchecked,
 "checked": how many tensors were read whole, "tensors": how many there are,
 "empty": how many of those that were read have no element,
 "gradients": how many of those that were read are gradients,
 "as_codes": how many of those that were read are packed weights whose values
   --logical could not tell: their codes were checked as they are stored,
 "findings": [{"severity": error | warning | info (a remark), "rule",
   "tensor": a name or null, "module": if it is about a module,
   "file": if it is about a file as a whole, "evidence",
   "indices": the first few}],
 "unchecked": [{"tensor", "file": if its tensors are not even known, "reason";
   both are null for the source itself}],
 "not_opened": files beside the model, which were not read,
 "files": with --verify [{"file", "state": verified | mismatch | unverified,
   "algorithm": sha256 | git-sha1 | null, "expected": hexadecimal or null,
   "actual": the same, "reason": why it is unverified, else where expected
   was found}]}"""

RULES = """\
{"rules": [{"id", "title", "severities", "meaning", "source",
   "thresholds": {name: value}}],
 "thresholds": {name: meaning}}"""

DIFF = """\
{"a", "b", "status": same | different | uncompared,
 "reason": why nothing was compared, or null,
 "doubt": which side is damaged or not whole, or null,
 "same_files": whether both sides are the same files, perhaps by a link,
 "rtol", "atol", "ignore_dtype",
 "renames", "unused_renames": those that change no name,
 "collisions": two tensors of one name after the renames [{"in": a | b,
   "name": of the one that is not compared, "called": after the renames,
   "taken_by"}],
 "suggested_renames": [{"renames", "matches"}],
 "only_in_a", "only_in_b", "implied": [{"name", "in": a | b, "reason"}],
 "adapted": of the weights on one side if the other is an adapter
   [{"name", "relative": norm of the change / norm of the weight, 0 if it
   has nothing for it, null if that is not known, "about"}],
 "identical": how many, "identical_names": with --names,
 "empty": names of tensors that have no element on either side,
 "equal": the same fields as changed; no value is beyond the tolerance,
 "changed": [{"name", "name_in_b", "change": shape | dtype | values,
   "shape_a", "shape_b", "dtype_a", "dtype_b", "max_abs", "mean_abs",
   "relative_l2", "snr_db": 20 log10(||a|| / ||b - a||), "cosine",
   "changed_fraction", "changed_count", "count",
   "pairs": finite on both sides, "first_index", "became_nan", "was_nan",
   "became_inf", "was_inf", "became_zero": finite and not zero in A,
   "first_broken_index": of the first that became NaN or infinite,
   "packed_a": if it is a packed weight in bytes {"method", "shape",
     "dtype"}, "packed_b": as above {"method", "shape", "dtype"},
   "reason": why no value was compared}],
 "changed_type", "changed_type_and_value": how many of those in changed,
 "uncompared": [{"name", "reason", "only_in": a | b, if the other side
   could not be read where it would be}],
 "elsewhere": bit for bit the same, but not by name or layout; no tensors
   that changed places, no two changes of layout at once [{"a", "b",
   "how": same | reshaped | transposed | rows | columns (in another order) |
     part, "slice_a": of a, if b is a part of it, "slice_b",
   "is_transposed": the part}],
 "elsewhere_tried": tensors read for it, "elsewhere_untried": {reason: count},
 "kinds": [{"kind", "count", "changed", "equal", "identical", "uncompared",
   "max_abs", "relative_l2", "cosine", "elements", "changed_elements",
   "other_shape", "other_dtype", "new_nan", "new_inf", "unread": tensors,
   "became_nan", "became_inf", "became_zero": elements,
   "worst": a name or null}],
 "findings_a", "findings_b": about the files of each side [{"severity",
   "rule", "tensor", "module", "file", "evidence", "indices"}],
 "not_opened_a", "not_opened_b": files beside the model, not read}"""


TIMELINE = """\
{"steps": [{"label", "number": of the step or null, "reason": why it could not
   be opened, or null}],
 "first_broken": null or {"step": the index of the first step at which a
   tensor has NaN or infinities, "tensors": names},
 "tensors": [{"name", "shape",
   "first_broken": index of the first step with NaN or infinities, or null,
   "jump": index of the step of a change of 8 times the median of the others,
   "frozen_since": index of the step since which not a bit has changed,
   "moments": one for each step, null where it has no such tensor
     {"dtype", "numel", "nan", "infinite", "norm", "abs_max",
      "since": index of the step that it is compared with, or null,
      "change": ||b - a|| / ||a||, "changed": share of the elements,
      "is_identical", "reason": why it was not read, or null}}],
 "unread": [{"what": a step, or a tensor at a step, "reason"}]}"""


def epilog(*blocks: str) -> str:
    """The end of a command's help; ``\\b`` keeps click from filling the lines of a block anew."""
    title = "Fields of --json (later versions may add some; NaN and infinities are null):"
    parts = [f"\b\n{title}\n{blocks[0]}"]
    parts += [f"\b\n{block}" for block in blocks[1:]]
    return "\n\n".join(parts)
