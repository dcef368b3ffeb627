"""The same classifier for the peers: our `.apr` weights as NumPy, ONNX and TorchScript files.

    python -m bench.peer_models MODEL.apr FOLDER        (with an interpreter that has the peers)

The input normalisation is folded into the first layer, which spares the peers an operation and changes no
answer. A peer that is not installed gets no file.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from realizar_lambda.architectures.mlp import MLP
from realizar_lambda.formats import open_model
from realizar_lambda.tensor import Tensor

F32 = NDArray[np.float32]
Layers = Sequence[tuple[F32, F32]]


def read_layers(path: Path) -> Layers:
    """[(weight (out, in), bias (out,)), ...] of an f32 relu-and-softmax `.apr`, the normalisation folded in.

    A logistic regression becomes two outputs, one of them fixed at zero: its softmax is the sigmoid.
    """
    file = open_model(path)
    if file.format == "apr-v1":
        model = MLP.from_logistic(file)
        weight, intercept = model.layers[0]
        row = _array(weight)
        return [(np.concatenate([np.zeros_like(row), row]), np.array([0.0, intercept], np.float32))]
    model = MLP.from_apr(file)
    if (model.activation, model.output) != ("relu", "softmax"):
        raise ValueError(f"{path.name} has {model.activation} and {model.output}; the peers have relu and softmax")
    layers = [(_array(weight), _array(bias)) for weight, bias in model.layers]
    multiplier, shift = (
        np.repeat(np.array(values), model.n_inputs // len(values)) for values in (model.multiplier, model.shift)
    )
    first, bias = layers[0]
    layers[0] = (
        (first * multiplier).astype(np.float32),
        (bias + first.astype(np.float64) @ shift).astype(np.float32),
    )
    return layers


def _array(tensor: Tensor) -> F32:
    if tensor.block.name != "F32":
        raise ValueError(f"{tensor.name} is {tensor.block.name}; the peers are given F32")
    return np.frombuffer(tensor.data, np.float32).reshape(tensor.shape).copy()


def write_numpy(layers: Layers, path: Path) -> None:
    """`weight0`, `bias0`, ... in an uncompressed npz."""
    named = {
        f"{kind}{i}": array
        for i, pair in enumerate(layers)
        for kind, array in zip(("weight", "bias"), pair, strict=True)
    }
    np.savez(path, allow_pickle=False, **named)


def write_onnx(layers: Layers, path: Path) -> None:
    """Gemm, Relu, ..., Softmax over a batch of any size."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    nodes, constants = [], []
    value = "features"
    for i, (weight, bias) in enumerate(layers):
        constants += [numpy_helper.from_array(weight, f"w{i}"), numpy_helper.from_array(bias, f"b{i}")]
        nodes.append(helper.make_node("Gemm", [value, f"w{i}", f"b{i}"], [f"z{i}"], transB=1))
        is_last = i == len(layers) - 1
        value = "probabilities" if is_last else f"h{i}"
        if is_last:
            nodes.append(helper.make_node("Softmax", [f"z{i}"], [value], axis=1))
        else:
            nodes.append(helper.make_node("Relu", [f"z{i}"], [value]))
    n_inputs, n_outputs = layers[0][0].shape[1], layers[-1][0].shape[0]
    graph = helper.make_graph(
        nodes,
        "mlp",
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, ["batch", n_inputs])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["batch", n_outputs])],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    onnx.save(model, path)


def torch_module(layers: Layers):  # type: ignore[no-untyped-def]  # torch is optional here
    """The layers as `torch.nn.Sequential`, in evaluation mode."""
    import torch

    modules: list[torch.nn.Module] = []
    for i, (weight, bias) in enumerate(layers):
        linear = torch.nn.Linear(weight.shape[1], weight.shape[0])
        with torch.no_grad():
            linear.weight.copy_(torch.from_numpy(weight))
            linear.bias.copy_(torch.from_numpy(bias))
        modules += [linear, torch.nn.Softmax(dim=1) if i == len(layers) - 1 else torch.nn.ReLU()]
    return torch.nn.Sequential(*modules).eval()


def write_torchscript(layers: Layers, path: Path) -> None:
    """The scripted module, frozen."""
    import torch

    torch.jit.save(torch.jit.freeze(torch.jit.script(torch_module(layers))), path)


WRITERS: Mapping[str, tuple[str, str, Callable[[Layers, Path], None]]] = {
    "numpy": ("numpy", "model.npz", write_numpy),
    "onnxruntime": ("onnx", "model.onnx", write_onnx),
    "torch": ("torch", "model.pt", write_torchscript),
}
"""Peer -> the package that writes its file, the file, the writer."""


def main(arguments: Sequence[str]) -> int:
    model, folder = map(Path, arguments)
    layers = read_layers(model)
    for package, name, writer in WRITERS.values():
        if find_spec(package) is not None:
            writer(layers, folder / name)
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
