#!/usr/bin/env bash
# onnxruntime 1.32.0, on a CPU: MatMulNBits computes other weights as soon as it is given g_idx, the group of each input.
#
# A weight of 4 bits with packed zero points is multiplied with the unit matrix, so that the product is the weight. g_idx
# here says what holds without it, that input i is of group i // block_size; the operator's description gives it no
# other meaning. Without it the product is (code - zero point) * scale; with it, it is off by more than the scales are
# large. Without zero points the two agree. tui-params restores such weights as the description says, and where g_idx
# stands beside packed zero points says that what it means is not certain (core/packed/in_bytes.py).
#
# Seen: no zero points: without g_idx equal, with it equal; zero points: without g_idx equal, with it off by more than 1
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet onnxruntime==1.32.0 onnx==1.23.2 numpy==2.4.6
cat > "$folder/product.py" <<'PYTHON'
import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

OUTPUTS, INPUTS, BLOCK, BITS = 8, 64, 16, 4
onnxruntime.set_default_logger_severity(4)
random = np.random.default_rng(0)
codes = random.integers(0, 16, (OUTPUTS, INPUTS)).astype(np.uint8)
scales = random.random((OUTPUTS, INPUTS // BLOCK)).astype(np.float32)
zeros = random.integers(0, 16, scales.shape).astype(np.uint8)
groups = np.arange(INPUTS) // BLOCK


def packed(values):
    return values[..., 0::2] | values[..., 1::2] << 4


def compared(has_zeros, has_groups):
    parts = {"B": packed(codes).reshape(OUTPUTS, INPUTS // BLOCK, BLOCK // 2), "scales": scales.reshape(-1)}
    if has_zeros:
        parts["zero_points"] = packed(zeros).reshape(-1)
    names = ["A", *parts]
    if has_groups:
        parts["g_idx"] = groups.astype(np.int32)
        names += ["g_idx"] if has_zeros else ["", "g_idx"]
    sizes = {"K": INPUTS, "N": OUTPUTS, "bits": BITS, "block_size": BLOCK}
    node = helper.make_node("MatMulNBits", names, ["Y"], domain="com.microsoft", **sizes)
    of = helper.make_tensor_value_info
    graph = helper.make_graph(
        [node],
        "product",
        [of("A", TensorProto.FLOAT, [INPUTS, INPUTS])],
        [of("Y", TensorProto.FLOAT, [INPUTS, OUTPUTS])],
        [numpy_helper.from_array(array, name) for name, array in parts.items()],
    )
    versions = [helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(graph, opset_imports=versions, ir_version=10)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    product = session.run(None, {"A": np.eye(INPUTS, dtype=np.float32)})[0].T
    zero = zeros[:, groups].astype(np.float32) if has_zeros else 8.0
    most = np.abs(product - (codes - zero) * scales[:, groups]).max()
    return "equal" if most < 1e-5 else "off by more than 1" if most > 1 else f"off by {most}"


print(
    "; ".join(
        f"{what}: without g_idx {compared(has_zeros, False)}, with it {compared(has_zeros, True)}"
        for what, has_zeros in (("no zero points", False), ("zero points", True))
    )
)
PYTHON
seen=$("$folder/venv/bin/python" "$folder/product.py")
echo "$seen"
expected="no zero points: without g_idx equal, with it equal"
expected="$expected; zero points: without g_idx equal, with it off by more than 1"
[[ $seen == "$expected" ]] || { echo "changed: g_idx is read differently"; exit 1; }
