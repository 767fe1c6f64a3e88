"""ONNX: what comes out is what ONNX's own reference in numpy computes; nothing outside the file is opened."""

import numpy as np
import pytest
import torch

onnx = pytest.importorskip("onnx", reason="onnx is not installed: pip install 'saliscope[onnx]'")

from onnx import TensorProto, helper, numpy_helper  # noqa: E402
from onnx.reference import ReferenceEvaluator  # noqa: E402

from saliscope.core.errors import CardError, ModelError, SaliscopeError, WeightsError  # noqa: E402
from saliscope.model.adapters.onnx_net import load_onnx  # noqa: E402

RNG = np.random.default_rng(3)
SHAPE = ("n", 3, 9, 12)


def values(*shape):
    return RNG.normal(size=shape).astype(np.float32)


def write(path, nodes, arrays=(), shape=SHAPE, out="y", opset=17, rank=4, change=None):
    """Write a graph from "x" to `out`; a node is (op, inputs, outputs, attributes)."""
    # A doubled space in the inputs stands for one that is left out.
    made = [
        helper.make_node(op, given.split(" "), gives.split(), name=f"{op}_{i}", **a)
        for i, (op, given, gives, a) in enumerate(nodes)
    ]
    held = [numpy_helper.from_array(np.asarray(v), k) for k, v in dict(arrays).items()]
    outs = [helper.make_tensor_value_info(o, TensorProto.FLOAT, list("abcd")[:rank]) for o in out.split()]
    graph = helper.make_graph(made, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)], outs, held)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)
    if change:
        change(model)
    path.write_bytes(model.SerializeToString())
    return path


def agree(path, kind="regression", shape=(2, 3, 9, 12), **more):
    x = values(*shape)
    with torch.no_grad():
        got = load_onnx(path, kind, **more).module.eval()(torch.from_numpy(x)).numpy()
    (want, *_) = ReferenceEvaluator(str(path)).run(None, {"x": x})
    assert got.shape == want.shape
    assert np.allclose(got, want, atol=1e-4)


ONE = {
    "conv": (
        [("Conv", "x w b", "y", {"strides": [2, 1], "pads": [1, 0, 1, 0], "dilations": [1, 2]})],
        {"w": values(4, 3, 3, 2), "b": values(4)},
    ),
    "conv of two widths": ([("Conv", "x w", "y", {"pads": [0, 1, 2, 0]})], {"w": values(4, 3, 3, 3)}),
    "conv as TensorFlow pads": (
        [("Conv", "x w", "y", {"auto_pad": "SAME_UPPER", "strides": [2, 2]})],
        {"w": values(4, 3, 3, 3)},
    ),
    "conv in groups": ([("Conv", "x w", "y", {"group": 3})], {"w": values(6, 1, 3, 3)}),
    "transposed": (
        [("ConvTranspose", "x w b", "y", {"strides": [2, 2], "pads": [1, 1, 1, 1], "output_padding": [1, 1]})],
        {"w": values(3, 4, 3, 3), "b": values(4)},
    ),
    "normalisation": (
        [("BatchNormalization", "x s b m v", "y", {"epsilon": 0.01})],
        {"s": values(3), "b": values(3), "m": values(3), "v": values(3) ** 2 + 0.5},
    ),
    "instance": ([("InstanceNormalization", "x s b", "y", {})], {"s": values(3), "b": values(3)}),
    "max pool": ([("MaxPool", "x", "y", {"kernel_shape": [3, 2], "strides": [2, 2], "pads": [1, 1, 1, 0]})], {}),
    "mean pool": ([("AveragePool", "x", "y", {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]})], {}),
    "mean pool with its padding": (
        [("AveragePool", "x", "y", {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "count_include_pad": 1})],
        {},
    ),
    "global": ([("GlobalAveragePool", "x", "y", {})], {}),
    "pad": ([("Pad", "x p v", "y", {})], {"p": np.array([0, 0, 1, 2, 0, 0, 0, 3]), "v": np.float32(0.5)}),
    "reflect": ([("Pad", "x p", "y", {"mode": "reflect"})], {"p": np.array([0, 0, 1, 2, 0, 0, 0, 3])}),
    "nearest": (
        [
            (
                "Resize",
                "x  s",
                "y",
                {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"},
            )
        ],
        {"s": np.array([1, 1, 2, 1.5], np.float32)},
    ),
    "nearest by default": ([("Resize", "x  s", "y", {"mode": "nearest"})], {"s": np.array([1, 1, 2, 3], np.float32)}),
    "linear": ([("Resize", "x  s", "y", {"mode": "linear"})], {"s": np.array([1, 1, 2, 3], np.float32)}),
    "to a size": (
        [("Resize", "x   z", "y", {"mode": "linear", "coordinate_transformation_mode": "align_corners"})],
        {"z": np.array([2, 3, 13, 5])},
    ),
    "clip": ([("Clip", "x a b", "y", {})], {"a": np.float32(-0.5), "b": np.float32(0.7)}),
    "slope": ([("PRelu", "x a", "y", {})], {"a": values(3, 1, 1)}),
    "hard": ([("HardSigmoid", "x", "a", {"alpha": 0.1}), ("HardSwish", "a", "y", {})], {}),
    "arithmetic": (
        [("Sub", "a x", "c", {}), ("Div", "c d", "e", {}), ("Mul", "e x", "f", {}), ("Max", "f x", "y", {})],
        {"a": values(3, 1, 1), "d": np.float32(2)},
    ),
    "branches": (
        [
            ("Relu", "x", "a", {}),
            ("LeakyRelu", "x", "b", {"alpha": 0.3}),
            ("Concat", "a b", "c", {"axis": 1}),
            ("ReduceMean", "c", "y", {"axes": [2, 3], "keepdims": 0}),
        ],
        {},
    ),
    "parts": (
        [
            ("Split", "x s", "a b", {"axis": 1}),
            ("Slice", "b f t ax", "c", {}),
            ("Transpose", "c", "y", {"perm": [0, 1, 3, 2]}),
        ],
        {"s": np.array([1, 2]), "f": np.array([1]), "t": np.array([-2]), "ax": np.array([3])},
    ),
    "half": ([("Slice", "x f e ax", "y", {})], {"f": np.array([0]), "e": np.array([2]), "ax": np.array([1])}),
    "linear layers": (
        [
            ("Flatten", "x", "a", {}),
            ("Gemm", "a w b", "c", {"transB": 1, "alpha": 0.5, "beta": 2.0}),
            ("MatMul", "c v", "y", {}),
        ],
        {"w": values(5, 324), "b": values(5), "v": values(5, 2)},
    ),
    "the other way round": (
        [("Flatten", "x", "a", {}), ("Gemm", "a w", "y", {})],
        {"w": values(324, 5)},
    ),
    "rows": ([("LayerNormalization", "x s b", "y", {"epsilon": 0.01})], {"s": values(12), "b": values(12)}),
    "softmax": ([("Softmax", "x", "y", {"axis": 1})], {}),
}
FLAT = ("branches", "linear layers", "the other way round")


@pytest.mark.parametrize("name", list(ONE))
def test_an_operation_gives_what_the_reference_gives(tmp_path, name):
    nodes, arrays = ONE[name]
    agree(write(tmp_path / "m.onnx", nodes, arrays, rank=2 if name in FLAT else 4))


def test_shapes_are_counted_while_the_network_runs(tmp_path):
    nodes = [
        ("Shape", "x", "s", {}),
        ("Gather", "s zero", "n", {}),
        ("Unsqueeze", "n zeros", "n1", {}),
        ("Concat", "n1 rest", "shape", {"axis": 0}),
        ("Reshape", "x shape", "r", {}),
        ("ReduceMean", "r", "y", {"axes": [2], "keepdims": 0}),
    ]
    arrays = {"zero": np.array(0), "zeros": np.array([0]), "rest": np.array([3, -1])}
    agree(write(tmp_path / "m.onnx", nodes, arrays, rank=2))


def small(path, activation="", **more):
    nodes = [
        ("Conv", "x w b", "a", {"pads": [1, 1, 1, 1]}),
        ("Relu", "a", "r", {}),
        ("GlobalAveragePool", "r", "g", {}),
        ("Flatten", "g", "f", {}),
        ("Gemm", "f v c", "z" if activation else "y", {"transB": 1}),
    ]
    tail = [(activation, "z", "y", {})] if activation else []
    arrays = {"w": values(4, 3, 3, 3), "b": values(4), "v": values(more.pop("classes", 2), 4), "c": values(1)}
    return write(path, nodes + tail, arrays, rank=2, **more)


@pytest.mark.parametrize(
    ("activation", "kind", "undo"),
    [("Softmax", "multi-class", torch.softmax), ("Sigmoid", "multi-label", lambda z, _: z.sigmoid())],
)
def test_the_final_activation_is_taken_off(tmp_path, activation, kind, undo):
    path = small(tmp_path / "m.onnx", activation)
    x = values(2, 3, 9, 12)
    carried = load_onnx(path, kind)
    assert carried.notes == (
        f"The final {activation.lower()} of m.onnx was taken off: the explained score is the logit.",
    )
    with torch.no_grad():
        got = undo(carried.module.eval()(torch.from_numpy(x)), 1).numpy()
    assert np.allclose(got, ReferenceEvaluator(str(path)).run(None, {"x": x})[0], atol=1e-5)
    with pytest.raises(CardError, match="ends in a"):
        load_onnx(path, "binary" if activation == "Softmax" else "multi-class")


def test_layers_bear_the_names_of_their_nodes(tmp_path):
    names = [n for n, _ in load_onnx(small(tmp_path / "m.onnx"), "multi-class").module.named_modules() if n]
    assert names == ["Conv_0", "Relu_1", "GlobalAveragePool_2", "Flatten_3", "Gemm_4"]


def test_a_fixed_batch_is_let_go_where_images_do_not_mix(tmp_path):
    nodes = [("Reshape", "x s", "r", {}), ("ReduceMean", "r", "y", {"axes": [2], "keepdims": 0})]
    path = write(tmp_path / "m.onnx", nodes, {"s": np.array([1, 3, -1])}, shape=(1, 3, 9, 12), rank=2)
    carried = load_onnx(path, "multi-class")
    assert "fixed its batch at 1" in carried.notes[0]
    x = values(4, 3, 9, 12)
    with torch.no_grad():
        assert np.allclose(carried.module(torch.from_numpy(x)).numpy(), x.mean((2, 3)), atol=1e-6)
    with pytest.raises(ModelError, match="3 x 9 x 12, as the network's file says"):
        carried.module(torch.zeros(1, 3, 9, 11))


def test_a_network_that_mixes_a_batch_is_refused(tmp_path):
    nodes = [
        ("ReduceMean", "x", "m", {"axes": [0]}),
        ("Sub", "x m", "d", {}),
        ("ReduceMean", "d", "y", {"axes": [2, 3], "keepdims": 0}),
    ]
    with pytest.raises(ModelError, match="mixes those of a larger batch"):
        load_onnx(write(tmp_path / "m.onnx", nodes, shape=(1, 3, 9, 12), rank=2), "multi-class")


def test_one_of_several_outputs_is_chosen(tmp_path):
    path = write(tmp_path / "m.onnx", [("Relu", "x", "y", {}), ("Neg", "x", "z", {})], out="y z")
    with pytest.raises(ModelError, match="output_key"):
        load_onnx(path, "regression")
    x = torch.from_numpy(values(1, 3, 9, 12))
    for key in ("z", 1):
        assert torch.equal(load_onnx(path, "regression", key).module(x), -x)


def external(model):
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", "/etc/passwd"


def inner(model):
    node = model.graph.node.add()
    node.op_type, node.name = "Constant", "c"
    node.output.append("c1")
    attribute = node.attribute.add()
    attribute.name, attribute.type = "value", onnx.AttributeProto.TENSOR
    attribute.t.data_location = TensorProto.EXTERNAL
    attribute.t.data_type = 1


def short(model):
    model.graph.initializer[0].dims[0] = 2**40


def looped(model):
    model.graph.node.append(helper.make_node("If", ["x"], ["q"], then_branch=helper.make_graph([], "t", [], [])))


def foreign(model):
    model.graph.node[0].domain = "com.example"
    model.opset_import.append(helper.make_opsetid("com.example", 1))


def unknown(model):
    model.graph.node[1].op_type = "TopK"


def old(model):
    model.opset_import[0].version = 3


def nan(model):
    tensor = model.graph.initializer[0]
    tensor.CopyFrom(numpy_helper.from_array(np.full((4, 3, 3, 3), np.nan, np.float32), tensor.name))


def wide(model):
    model.graph.node[0].attribute[0].ints[:] = [10**9, 1, 1, 1]


def two(model):
    model.graph.input.append(helper.make_tensor_value_info("x2", TensorProto.FLOAT, SHAPE))


@pytest.mark.parametrize(
    "spoil", [external, inner, short, looped, foreign, unknown, old, nan, wide, two], ids=lambda f: f.__name__
)
def test_a_hostile_or_unknown_file_is_refused(tmp_path, spoil):
    with pytest.raises(SaliscopeError):
        load_onnx(small(tmp_path / "m.onnx", change=spoil), "multi-class")


def test_arrays_in_other_files_are_refused_before_they_are_opened(tmp_path):
    with pytest.raises(WeightsError, match="in another file"):
        load_onnx(small(tmp_path / "m.onnx", change=external), "multi-class")


def test_absurd_constants_are_refused_before_they_are_made(tmp_path):
    nodes = [("ConstantOfShape", "s", "c", {}), ("Add", "x c", "y", {})]
    with pytest.raises(ModelError, match="ConstantOfShape"):
        load_onnx(write(tmp_path / "m.onnx", nodes, {"s": np.array([2**20, 2**20])}), "regression")


@pytest.mark.parametrize("content", [b"", b"not onnx", b"\x89HDF\r\n\x1a\n" * 9])
def test_another_file_is_refused(tmp_path, content):
    path = tmp_path / "m.onnx"
    path.write_bytes(content)
    with pytest.raises(SaliscopeError):
        load_onnx(path, "binary")
