"""The contenders: who can run, what they must answer, and that the peers are given the same classifier."""

from __future__ import annotations

import json
import math
import random
import sys
from array import array
from itertools import pairwise
from pathlib import Path

import pytest

from bench import cold_start, predict_latency
from bench.contenders import CONTENDERS, WrongAnswerError, available, can_import, check_answer, packaged
from bench.latency_worker import median_us
from bench.peer_models import read_layers, write_numpy
from demo.digits import read_digits
from lambda_emulator.entries import ENTRIES
from lambda_emulator.package import lay_out
from lambda_emulator.records import Invocation
from realizar_lambda.formats import apr_v2

np = pytest.importorskip("numpy")

BY_NAME = {contender.name: contender for contender in CONTENDERS}
SIZES = (784, 16, 10)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A relu-and-softmax classifier with a normalisation; its weights mean nothing."""
    generator = random.Random(3)
    tensors = {}
    for i, (n_in, n_out) in enumerate(pairwise(SIZES)):
        for part, shape in (("weight", (n_out, n_in)), ("bias", (n_out,))):
            values = array("f", (generator.gauss(0, 0.1) for _ in range(math.prod(shape))))
            tensors[f"layers.{i}.{part}"] = (shape, "F32", values.tobytes())
    metadata = {
        "architecture": "mlp",
        "model_type": "mlp",
        "name": "mnist_mlp",
        "input_shape": [28, 28],
        "layer_sizes": list(SIZES),
        "activation": "relu",
        "output": "softmax",
        "normalization": {"scale": 1 / 255, "mean": [0.1307], "std": [0.3081]},
    }
    path = tmp_path_factory.mktemp("models") / "mnist_mlp.apr"
    apr_v2.write(path, tensors, metadata)
    return path


def answer(probabilities: list[float], status: int = 200) -> Invocation:
    body = json.dumps({"prediction": 0, "probabilities": probabilities})
    return Invocation("id", json.dumps({"statusCode": status, "body": body}).encode(), False, None, 1.0)


def test_every_handler_of_the_table_lies_where_it_says() -> None:
    for contender in CONTENDERS:
        module = contender.handler.rpartition(".")[0].replace(".", "/")
        assert (contender.cwd / f"{module}.py").exists(), contender.name
        assert contender.entry in ENTRIES


def test_only_what_can_be_imported_takes_part() -> None:
    assert can_import(sys.executable, ("json",))
    assert not can_import(sys.executable, ("json", "no_such_module"))
    names = [contender.name for contender in available()]
    assert names[:5] == ["empty", "realizar", "realizar_client", "generate", "generate_client"]


def test_answers_are_compared() -> None:
    ours = BY_NAME["realizar"]
    assert check_answer(ours, answer([0.25, 0.75]), None, "") == [0.25, 0.75]
    assert check_answer(BY_NAME["torch"], answer([0.25, 0.75]), [0.250001, 0.749999], "") == [0.25, 0.75]
    with pytest.raises(WrongAnswerError, match="PyTorch answered"):
        check_answer(BY_NAME["torch"], answer([0.25, 0.75]), [0.3, 0.7], "")
    with pytest.raises(WrongAnswerError, match="realizar-lambda, our loop answered"):
        check_answer(ours, answer([1.0], status=500), None, "")
    with pytest.raises(WrongAnswerError, match="what it wrote"):
        check_answer(ours, Invocation("id", b"{}", True, "E", 1.0), None, "what it wrote")


def test_the_peers_weights_answer_as_the_model_does(model: Path, tmp_path: Path) -> None:
    from realizar_lambda import Classifier

    layers = read_layers(model)
    write_numpy(layers, tmp_path / "model.npz")
    stored = np.load(tmp_path / "model.npz")
    for digit in read_digits()[:3]:
        pixels = np.frombuffer(digit.pixels, np.uint8).astype(np.float64)
        hidden = np.maximum(stored["weight0"] @ pixels + stored["bias0"], 0)
        powers = np.exp(stored["weight1"] @ hidden + stored["bias1"])
        expected = Classifier.open(str(model)).predict(digit.pixels).probabilities
        np.testing.assert_allclose(powers / powers.sum(), expected, atol=1e-5)


def test_a_logistic_regression_becomes_two_outputs_whose_softmax_is_its_sigmoid(data_dir: Path) -> None:
    from realizar_lambda import Classifier

    path = data_dir / "apr" / "mnist_784x2.apr"
    ((weight, bias),) = read_layers(path)
    assert weight.shape == (2, 784)
    pixels = read_digits()[1].pixels
    powers = np.exp(weight.astype(np.float64) @ np.frombuffer(pixels, np.uint8) + bias)
    expected = Classifier.open(str(path)).predict(pixels).probabilities
    np.testing.assert_allclose(powers / powers.sum(), expected, atol=1e-5)


def test_a_cold_start_is_measured_and_its_answer_kept(model: Path) -> None:
    from dataclasses import replace

    ours = replace(BY_NAME["realizar"], env={"REALIZAR_MODELS_DIR": str(model.parent)})
    digit = read_digits()[0]
    measures, found = cold_start.start_once(ours, digit, python=sys.executable, emulator="own", expected=None)
    assert set(measures) == set(cold_start.MEASURES)
    assert all(value > 0 for value in measures.values())
    assert sum(found) == pytest.approx(1.0, abs=1e-3)
    with pytest.raises(WrongAnswerError):
        cold_start.start_once(ours, digit, python=sys.executable, emulator="own", expected=[1.0] + [0.0] * 9)


def test_a_first_token_is_measured_in_a_folder_as_an_image_has_it(tmp_path: Path) -> None:
    pytest.importorskip("awslambdaric")
    package = lay_out(tmp_path)
    assert not list(package.folder.rglob("kernels"))
    for contender in packaged([BY_NAME["generate"], BY_NAME["empty"]], package):
        measures, found = cold_start.start_once(
            contender, read_digits()[0], python=package.python, emulator="own", expected=None
        )
        assert found == []
        assert measures["total_ms"] > measures["first_answer_ms"] > 0
    with pytest.raises(WrongAnswerError, match="first token, our loop answered"):
        check_answer(BY_NAME["generate"], answer([1.0]), None, "")


def test_a_latency_round_has_a_time_for_every_contender_and_batch(model: Path) -> None:
    samples = predict_latency.measure(model, {"realizar": sys.executable}, rounds=1)
    assert {batch: list(found) for batch, found in samples.items()} == {"1": ["realizar"], "32": ["realizar"]}
    assert all(len(found["realizar"]) == 1 and found["realizar"][0] > 0 for found in samples.values())


def test_a_worker_that_dies_is_a_failure_of_the_benchmark(tmp_path: Path) -> None:
    with pytest.raises(WrongAnswerError, match="no-such-contender ended with exit code 1"):
        predict_latency.Worker("no-such-contender", python=sys.executable, model=tmp_path, folder=tmp_path)


def test_a_median_is_of_calls_timed_one_by_one() -> None:
    calls = []
    assert median_us(lambda: calls.append(1), 11) >= 0
    assert len(calls) == 22


@pytest.mark.peers
def test_every_peer_gives_our_answers_when_cold_and_when_warm(model: Path, tmp_path: Path) -> None:
    names = {contender.name for contender in available()}
    if not {"numpy", "onnxruntime", "torch"} <= names:
        pytest.skip("the bench extra is not installed")
    cold_start.run(rounds=2, emulator="own", peer_python=sys.executable, folder=tmp_path, model=model)
    stored = json.loads((tmp_path / "cold_start.json").read_text())
    assert set(stored["samples"]) == set(BY_NAME)
    predict_latency.measure(model, predict_latency.contenders(sys.executable), rounds=1)


def test_the_benchmarks_refuse_too_few_rounds(capsys: pytest.CaptureFixture[str]) -> None:
    for main in (cold_start.main, predict_latency.main):
        with pytest.raises(SystemExit):
            main(["--rounds", "1"])
        assert "argument --rounds: must be at least 2, got 1" in capsys.readouterr().err
