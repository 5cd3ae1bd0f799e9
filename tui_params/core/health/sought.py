"""Sought: which values of a tensor a finding is about, so that their places can be looked up."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


What = Literal["NaN", "+Inf", "-Inf", "not finite", "zero", "below", "beyond", "at", "not whole"]


class Sought(NamedTuple):
    """The values that ``what`` names, compared with ``limit`` where there is one."""

    what: What
    limit: float = 0.0

    def is_met(self, values: NDArray[Any]) -> NDArray[np.bool_]:
        """Which of some values (float64) are sought; ``beyond`` and ``at`` are about magnitudes."""
        import numpy as np

        found: NDArray[np.bool_]
        if self.what == "NaN":
            found = np.isnan(values)
        elif self.what == "not finite":
            found = ~np.isfinite(values)
        elif self.what == "below":
            found = values < self.limit
        elif self.what == "not whole":
            found = values != np.floor(values)
        elif self.what == "beyond":
            found = (np.abs(values) > self.limit) & np.isfinite(values)
        elif self.what == "at":
            found = np.abs(values) == self.limit
        else:
            found = values == {"+Inf": np.inf, "-Inf": -np.inf, "zero": 0.0}[self.what]
        return found


NAN, POS_INF, NEG_INF = Sought("NaN"), Sought("+Inf"), Sought("-Inf")
NOT_FINITE, ZERO = Sought("not finite"), Sought("zero")
NEGATIVE, NOT_WHOLE = Sought("below", 0.0), Sought("not whole")
