"""Arrays over bare addresses, for the loops that numba compiles (``loops``); imports numba."""

from __future__ import annotations

from typing import Any

from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numba.np import arrayobj


def array_view(element: Any, *, is_input: bool = False) -> Any:
    """A compile-time function (address, count) -> array. numba's own ``carray`` takes everything for aligned."""
    array = types.Array(element, 1, "C", aligned=not is_input)

    @intrinsic  # type: ignore[untyped-decorator]
    def view(typing_context: Any, address: Any, count: Any) -> Any:
        def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            made = context.make_array(array)(context, builder)
            itemsize = context.get_constant(types.intp, context.get_abi_sizeof(context.get_data_type(element)))
            arrayobj.populate_array(
                made,
                data=builder.inttoptr(arguments[0], made.data.type),
                shape=cgutils.pack_array(builder, [arguments[1]]),
                strides=cgutils.pack_array(builder, [itemsize]),
                itemsize=itemsize,
                meminfo=None,
            )
            return made._getvalue()

        return array(types.intp, types.intp), build

    return view
