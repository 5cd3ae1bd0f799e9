"""Pickles of one numpy array as Python 2 wrote them: its strings were bytes."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray


def python2_array(array: NDArray[Any]) -> bytes:
    """Protocol 2, with the bytes as they are."""
    raw = array.tobytes()
    text = b"U" + bytes([len(raw)]) if len(raw) < 256 else b"T" + len(raw).to_bytes(4, "little")
    code = array.dtype.str[1:].encode()
    return (
        b"\x80\x02cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
        b"(K\x01" + b"".join(b"M" + size.to_bytes(2, "little") for size in array.shape) + b"\x85"
        b"cnumpy\ndtype\nU"
        + bytes([len(code)])
        + code
        + b"K\x00K\x01\x87R(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
        b"\x89" + text + raw + b"tb."
    )


def python2_repr_array(array: NDArray[Any]) -> bytes:
    """Protocol 0, with the bytes as a repr."""
    text = repr(array.tobytes())[1:].encode("ascii")
    return (
        b"cnumpy.core.multiarray\n_reconstruct\np0\n(cnumpy\nndarray\np1\n(I0\ntp2\nS'b'\np3\ntp4\nRp5\n(I1\n("
        + b"".join(b"I%d\n" % size for size in array.shape)
        + b"tp6\ncnumpy\ndtype\np7\n(S'%s'\np8\nI0\nI1\ntp9\nRp10\n(I3\nS'<'\np11\nNNNI-1\nI-1\nI0\ntp12\nbI00\nS"
        % array.dtype.str[1:].encode()
        + text
        + b"\np13\ntp14\nb."
    )
