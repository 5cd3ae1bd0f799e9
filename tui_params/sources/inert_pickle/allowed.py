"""The globals that a checkpoint may use without a word, and those that only make objects of data.

Names are ``module.name``. Everything that is in neither table is judged by ``labels``.
"""

from __future__ import annotations

_TORCH_PLAIN = """
    _codecs.encode builtins.bytearray builtins.complex builtins.set collections.Counter collections.OrderedDict
    torch.Size torch.Tensor torch.device torch.nn.parameter.Parameter torch.serialization._get_layout
    torch.storage.TypedStorage torch.storage.UntypedStorage torch._tensor._rebuild_from_type_v2
    torch._utils._rebuild_device_tensor_from_cpu_tensor torch._utils._rebuild_device_tensor_from_numpy
    torch._utils._rebuild_meta_tensor_no_storage torch._utils._rebuild_nested_tensor torch._utils._rebuild_parameter
    torch._utils._rebuild_parameter_with_state torch._utils._rebuild_qtensor torch._utils._rebuild_sparse_tensor
    torch._utils._rebuild_tensor torch._utils._rebuild_tensor_v2 torch._utils._rebuild_tensor_v3
    torch._utils._rebuild_wrapper_subclass
"""
_TORCH_TYPES = """
    bfloat16 bits16 bits1x8 bits2x4 bits4x2 bits8 bool complex128 complex32 complex64 float16 float32
    float4_e2m1fn_x2 float64 float8_e4m3fn float8_e4m3fnuz float8_e5m2 float8_e5m2fnuz float8_e8m0fnu int1 int16 int2
    int3 int32 int4 int5 int6 int64 int7 int8 per_channel_affine per_channel_affine_float_qparams
    per_channel_symmetric per_tensor_affine per_tensor_symmetric qint32 qint8 quint2x4 quint4x2 quint8 uint1 uint16
    uint2 uint3 uint32 uint4 uint5 uint6 uint64 uint7 uint8
"""
_NUMBER_LIST = "BFloat16 Bool Byte Char Double Float Half Int Long Short"
_NUMBERS = _NUMBER_LIST.split()
_CPU_STORAGES = [*_NUMBERS, "ComplexDouble", "ComplexFloat", "QInt32", "QInt8", "QUInt2x4", "QUInt4x2", "QUInt8"]
_CUDA_STORAGES = [*_NUMBERS, "ComplexDouble", "ComplexFloat"]
_SPARSE = [name for name in _NUMBERS if name != "Bool"]

TORCH_ALLOWED: frozenset[str] = frozenset(
    _TORCH_PLAIN.split()
    + [f"torch.{name}" for name in _TORCH_TYPES.split()]
    + [f"torch.{name}Storage" for name in _CPU_STORAGES]
    + [f"torch.cuda.{name}Storage" for name in _CUDA_STORAGES]
    + [f"torch.{place}{name}Tensor" for place in ("", "cuda.") for name in _NUMBERS]
    + [f"torch.{place}sparse.{name}Tensor" for place in ("", "cuda.") for name in _SPARSE]
)
"""What ``torch.load(weights_only=True)`` of torch 2.13 allows: _weights_only_unpickler.py, ``_get_allowed_globals``."""

_TORCH_IMPORTED = """
    torch._dynamo.decorators._DimRange torch.distributed._mesh_layout._FlatLayout
    torch.distributed._mesh_layout._MeshLayout torch.distributed.device_mesh.DeviceMesh torch.distributed.tensor.DTensor
    torch.distributed.tensor._dtensor_spec.DTensorSpec torch.distributed.tensor._dtensor_spec.ShardOrderEntry
    torch.distributed.tensor._dtensor_spec.TensorMeta torch.distributed.tensor.placement_types.Partial
    torch.distributed.tensor.placement_types.Replicate torch.distributed.tensor.placement_types.Shard
    torch.distributed.tensor.placement_types._StridedShard torch.nested._internal.nested_tensor.NestedTensor
    torch.nested._internal.nested_tensor._rebuild_njt
"""
TORCH_ALLOWED_ONCE_IMPORTED: frozenset[str] = frozenset(_TORCH_IMPORTED.split())
"""What torch adds to that list when torch.distributed.tensor, torch.nested and torch._dynamo are imported."""

WRAPPER = "joblib.numpy_pickle.NumpyArrayWrapper"
"""What describes an array in a pickle of joblib, and only that."""

_DATA_LIST = """
    builtins.object builtins.int builtins.float builtins.str builtins.bool builtins.long builtins.unicode
    datetime.datetime datetime.date datetime.time datetime.timedelta datetime.timezone
    decimal.Decimal fractions.Fraction uuid.UUID uuid.SafeUUID argparse.Namespace types.SimpleNamespace random.Random
    array.array array._array_reconstructor re._compile re.RegexFlag zoneinfo.ZoneInfo._unpickle logging.getLogger
    functools.partial types.GenericAlias http.HTTPStatus signal.Signals ipaddress.IPv4Address ipaddress.IPv6Address
    collections.ChainMap collections.UserDict collections.UserList _io.BytesIO io.BytesIO
    operator.itemgetter operator.attrgetter _operator.itemgetter _operator.attrgetter
    numpy.ndarray numpy.matrix numpy.ma.core.MaskedArray numpy.ma.core._mareconstruct
    numpy.random._pickle.__bit_generator_ctor numpy._core._internal._convert_to_stringdtype_kwargs
    numpy.random._pickle.__generator_ctor numpy.random._pickle.__randomstate_ctor numpy.random.__RandomState_ctor
    torch.Generator torch._C.Generator
    pandas._libs.internals._unpickle_block pandas._libs.arrays.__pyx_unpickle_NDArrayBacked
    pandas.core.indexes.base._new_Index pandas.core.indexes.datetimes._new_DatetimeIndex
    pandas._libs.tslibs.timestamps._unpickle_timestamp pandas._libs.tslibs.timedeltas._timedelta_unpickle
    pytz._p pytz._UTC
"""
DATA: frozenset[str] = frozenset(_DATA_LIST.split())
"""Classes and rebuilding functions that store their arguments and do nothing else.

``functools.partial`` keeps a function without calling it; a call of what it makes is a call of a result, and is named.
``logging.getLogger`` is how a Logger is pickled: it finds or adds an entry in a table.
"""

_PLAIN_BASE_LIST = """
    builtins.object builtins.int builtins.float builtins.complex builtins.str builtins.bytes builtins.bytearray
    builtins.bool builtins.list builtins.tuple builtins.dict builtins.set builtins.frozenset builtins.long
    builtins.unicode collections.OrderedDict collections.defaultdict
"""
PLAIN_BASES: frozenset[str] = frozenset(_PLAIN_BASE_LIST.split())
"""The bases that ``copyreg._reconstructor`` may call: types of the interpreter that only store a value."""
