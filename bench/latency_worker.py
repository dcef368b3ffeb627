"""One contender of the latency benchmark in a process of its own, told what to time over its standard input.

    python -m bench.latency_worker CONTENDER MODEL.apr FOLDER     (FOLDER: bench.peer_models' files, inputs.f32)

It answers each line `N_CALLS BATCH` with a line of JSON: the median of N_CALLS calls in microseconds. Every
contender gets its input in the form it likes best, ready in memory, and runs on one thread.
"""

from __future__ import annotations

import json
import sys
import time
from array import array
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median

BATCHES = (1, 32)
INPUTS = "inputs.f32"
_N_WARM_UP = 50

Call = Callable[[], object]
Calls = tuple[Callable[[int], Call], Callable[[], list[float]]]
"""(batch -> a call to time, () -> the first row's probabilities)."""


def _rows(folder: Path, n_inputs: int) -> list[array[float]]:
    values = array("f", (folder / INPUTS).read_bytes())
    return [values[start : start + n_inputs] for start in range(0, len(values), n_inputs)]


def realizar(model: Path, folder: Path) -> Calls:
    """`predict` and `predict_batch` on rows of f32; the answer is Python's index, label and floats."""
    from realizar_lambda import load

    classifier = load(model)
    rows = _rows(folder, classifier.n_inputs)

    def call(batch: int) -> Call:
        if batch == 1:
            return lambda: classifier.predict(rows[0])
        return lambda: classifier.predict_batch(rows[:batch])

    return call, lambda: list(classifier.predict(rows[0]).probabilities)


def _torch(model: Path, folder: Path, *, is_scripted: bool) -> Calls:
    import numpy as np
    import torch

    from bench.peer_models import read_layers, torch_module

    torch.set_num_threads(1)
    layers = read_layers(model)
    module = torch.jit.load(folder / "model.pt") if is_scripted else torch_module(layers)
    rows = torch.from_numpy(np.fromfile(folder / INPUTS, np.float32).reshape(-1, layers[0][0].shape[1]))
    torch.inference_mode(mode=True).__enter__()

    def call(batch: int) -> Call:
        some = rows[:batch].contiguous()
        return lambda: module(some)

    return call, lambda: [float(value) for value in module(rows[:1])[0]]


def torch_eager(model: Path, folder: Path) -> Calls:
    """`torch.nn.Sequential` in inference mode; the answer stays a tensor."""
    return _torch(model, folder, is_scripted=False)


def torchscript(model: Path, folder: Path) -> Calls:
    """The frozen script in inference mode; the answer stays a tensor."""
    return _torch(model, folder, is_scripted=True)


def onnxruntime(model: Path, folder: Path) -> Calls:
    """A session with input and output bound once; the answer stays in its buffer."""
    import numpy as np
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    session = ort.InferenceSession(str(folder / "model.onnx"), options, providers=["CPUExecutionProvider"])
    n_inputs = session.get_inputs()[0].shape[1]
    n_outputs = session.get_outputs()[0].shape[1]
    rows = np.fromfile(folder / INPUTS, np.float32).reshape(-1, n_inputs)

    def bind(batch: int) -> tuple[Call, object]:
        binding = session.io_binding()
        output = ort.OrtValue.ortvalue_from_numpy(np.zeros((batch, n_outputs), np.float32))
        binding.bind_ortvalue_input("features", ort.OrtValue.ortvalue_from_numpy(rows[:batch]))
        binding.bind_ortvalue_output("probabilities", output)
        return lambda: session.run_with_iobinding(binding), output

    def probabilities() -> list[float]:
        call, output = bind(1)
        call()
        return [float(value) for value in output.numpy()[0]]  # type: ignore[attr-defined]

    return lambda batch: bind(batch)[0], probabilities


RUNNERS: Mapping[str, Callable[[Path, Path], Calls]] = {
    "realizar": realizar,
    "torch_eager": torch_eager,
    "torchscript": torchscript,
    "onnxruntime": onnxruntime,
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
