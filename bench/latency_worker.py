"""One contender of the latency benchmark in a process of its own, told what to time over its standard input.

    python -m bench.latency_worker CONTENDER MODEL.apr FOLDER     (FOLDER: bench.peer_models' files, inputs.f32)

It answers each line `N_CALLS BATCH` with a line of JSON: the median of N_CALLS calls in microseconds. Every
contender runs on one thread and is given its rows in the form it likes best. A peer has two entries: one does
our work, from features in Python's memory to the class and its probabilities as Python values; the `_forward`
one only the model, from a tensor that is ready to a tensor that stays where it is.
"""

from __future__ import annotations

import json
import sys
import time
from array import array
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from statistics import median

BATCHES = (1, 32)
INPUTS = "inputs.f32"
_N_WARM_UP = 50

Answer = tuple[int, list[float]]
"""A row's class and its probabilities."""

Call = Callable[[], object]
Calls = tuple[Callable[[int], Call], Callable[[], list[float]]]
"""(batch -> a call to time, () -> the first row's probabilities)."""


def _features(folder: Path, n_inputs: int, n_rows: int) -> array[float]:
    return array("f", (folder / INPUTS).read_bytes()[: 4 * n_inputs * n_rows])


def _answers(rows: list[list[float]]) -> list[Answer]:
    return [(row.index(max(row)), row) for row in rows]


def realizar(model: Path, folder: Path) -> Calls:
    """`predict` and `predict_batch` on f32 in memory, a batch's rows one after another."""
    from realizar_lambda import Classifier

    classifier = Classifier.open(str(model))
    n = classifier.n_inputs

    def call(batch: int) -> Call:
        features = _features(folder, n, batch)
        if batch == 1:
            return lambda: classifier.predict(features)
        return lambda: classifier.predict_batch(features)

    return call, lambda: list(classifier.predict(_features(folder, n, 1)).probabilities)


def torch(model: Path, folder: Path, *, is_scripted: bool, is_forward: bool) -> Calls:
    """`torch.nn.Sequential`, or its frozen script, in inference mode."""
    import torch as pytorch

    from bench.peer_models import read_layers, torch_module

    pytorch.set_num_threads(1)
    layers = read_layers(model)
    n = layers[0][0].shape[1]
    module = pytorch.jit.load(folder / "model.pt") if is_scripted else torch_module(layers)
    pytorch.inference_mode(mode=True).__enter__()

    def call(batch: int) -> Call:
        features = _features(folder, n, batch)
        ready = pytorch.tensor(features.tolist()).view(batch, n)
        if is_forward:
            return lambda: module(ready)
        f32 = pytorch.float32
        return lambda: _answers(module(pytorch.frombuffer(features, dtype=f32).view(batch, n)).tolist())

    return call, lambda: list(module(pytorch.tensor([_features(folder, n, 1).tolist()]))[0].tolist())


def onnxruntime(model: Path, folder: Path, *, is_forward: bool) -> Calls:
    """A session with its input and output bound once to memory of ours."""
    import numpy as np
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    session = ort.InferenceSession(str(folder / "model.onnx"), options, providers=["CPUExecutionProvider"])
    n_inputs = session.get_inputs()[0].shape[1]
    n_outputs = session.get_outputs()[0].shape[1]

    def call(batch: int) -> Call:
        features = _features(folder, n_inputs, batch)
        source = np.frombuffer(features, np.float32).reshape(batch, n_inputs).copy()
        target = np.zeros((batch, n_outputs), np.float32)
        binding = session.io_binding()
        binding.bind_input("features", "cpu", 0, np.float32, source.shape, source.ctypes.data)
        binding.bind_output("probabilities", "cpu", 0, np.float32, target.shape, target.ctypes.data)
        flat = source.reshape(-1)

        def forward() -> object:
            session.run_with_iobinding(binding)
            return source, target

        def answer() -> list[Answer]:
            flat[:] = features
            session.run_with_iobinding(binding)
            return _answers(target.tolist())

        return forward if is_forward else answer

    def probabilities() -> list[float]:
        features = np.frombuffer(_features(folder, n_inputs, 1), np.float32).reshape(1, n_inputs)
        return [float(value) for value in session.run(None, {"features": features})[0][0]]

    return call, probabilities


RUNNERS: Mapping[str, Callable[[Path, Path], Calls]] = {
    "realizar": realizar,
    "torch_eager": partial(torch, is_scripted=False, is_forward=False),
    "torchscript": partial(torch, is_scripted=True, is_forward=False),
    "onnxruntime": partial(onnxruntime, is_forward=False),
    "torch_eager_forward": partial(torch, is_scripted=False, is_forward=True),
    "torchscript_forward": partial(torch, is_scripted=True, is_forward=True),
    "onnxruntime_forward": partial(onnxruntime, is_forward=True),
}


def median_us(call: Call, n_calls: int) -> float:
    """The median of `n_calls` calls, each timed by itself, after a short warm-up."""
    for _ in range(min(_N_WARM_UP, n_calls)):
        call()
    clock = time.perf_counter_ns
    times = []
    for _ in range(n_calls):
        begin = clock()
        call()
        times.append(clock() - begin)
    return median(times) / 1000.0


def main(arguments: list[str]) -> int:
    name, model, folder = arguments
    make_call, probabilities = RUNNERS[name](Path(model), Path(folder))
    calls = {batch: make_call(batch) for batch in BATCHES}
    print(json.dumps(probabilities()), flush=True)
    for line in sys.stdin:
        n_calls, batch = map(int, line.split())
        print(json.dumps(median_us(calls[batch], n_calls)), flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
