"""Arm problems: what they draw, what stays fixed, and the reader of NAS-Bench-101."""

from __future__ import annotations

import base64
import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from workingpapers.claims import Untested
from workingpapers.workloads.arms import (
    Abalone,
    Arms,
    CaliforniaHousing,
    DiabetesArms,
    DigitsArms,
    NasBench101,
    arrays_hash,
    final_validation_accuracy,
    median_distance,
    read_nasbench,
)


def test_rewards_are_draws_of_the_gaussian_process() -> None:
    arms = np.random.default_rng(0).random((6, 3))

    class Fixed:
        """A generator whose arms stay while its rewards are redrawn."""

        def __init__(self, seed: int) -> None:
            self.rng = np.random.default_rng(seed)

        def random(self, shape: Any) -> Any:
            return arms

        def standard_normal(self, n: int) -> Any:
            return self.rng.standard_normal(n)

    rewards = np.array([Arms(6, 1).load(Fixed(seed)).rewards for seed in range(8_000)])  # type: ignore[arg-type]
    kernel = Arms(6, 1).load(np.random.default_rng(0)).kernel()
    np.testing.assert_allclose(np.cov(rewards.T), kernel(arms), atol=0.06)


def test_evaluations_have_the_noise_of_the_problem() -> None:
    problem = Arms(10, 1, noise=0.3).load(np.random.default_rng(0))
    y = problem.evaluate(4, 50_000, np.random.default_rng(1))
    assert y.mean() == pytest.approx(problem.rewards[4], abs=0.01)
    assert y.std() == pytest.approx(0.3, abs=0.01)
    assert problem.optimum == problem.rewards.max()


@pytest.mark.parametrize(
    ("point", "shape"), [(DiabetesArms(10), (442, 10)), (DigitsArms(10), (1797, 64)), (DigitsArms(10, keep=50), (50, 64))]
)
def test_tables_are_standardised_and_rescaled(point: Any, shape: tuple[int, int]) -> None:
    problem = point.load(np.random.default_rng(0))
    assert problem.arms.shape == shape
    assert problem.variance == pytest.approx(problem.rewards.var())
    assert problem.kernel().diag(problem.arms[:2]) == pytest.approx(problem.variance)
    if point.keep is None:
        assert np.ptp(problem.rewards) == pytest.approx(1)
        assert problem.rewards.mean() == pytest.approx(0)
        assert problem.arms.std(axis=0).max() == pytest.approx(1)
    assert problem.length_scale == pytest.approx(0.5 * median_distance(problem.arms))
    assert point.data_hash() == point.data_hash() != ""
    assert point.label.startswith(point.name)


def test_the_hash_tells_contents_shape_and_type_apart() -> None:
    a = np.arange(6.0)
    assert len({arrays_hash(a), arrays_hash(a.reshape(2, 3)), arrays_hash(a.astype(np.float32)), arrays_hash(a + 1)}) == 4
    assert arrays_hash(a) == arrays_hash(a.astype(">f8"))


@pytest.mark.parametrize("point", [CaliforniaHousing(10), Abalone(10)])
def test_fetched_tables_are_kept_once_and_say_what_is_missing(point: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKINGPAPERS_CACHE", str(tmp_path))
    with pytest.raises(Untested, match="not in the cache"):
        point.load(np.random.default_rng(0))

    def no_network(self: Any) -> Any:
        raise OSError("no route")

    monkeypatch.setattr(type(point), "fetch", no_network)
    with pytest.raises(Untested, match="no route"):
        point.prepare(lambda share, words: None)
    rng = np.random.default_rng(0)
    monkeypatch.setattr(type(point), "fetch", lambda self: (rng.random((30, 8)), rng.random(30)))
    point.prepare(lambda share, words: None)
    kept = point.table()
    point.prepare(lambda share, words: None)
    np.testing.assert_array_equal(point.table()[0], kept[0])
    assert point.load(rng).arms.shape == (30, 8)


# ---------------------------------------------------------------- NAS-Bench-101


def varint(number: int) -> bytes:
    out = b""
    while number > 127:
        out, number = out + bytes([number & 127 | 128]), number >> 7
    return out + bytes([number])


def evaluation(accuracy: float) -> bytes:
    """EvaluationData: current_epoch, training_time, train, validation and test accuracy, checkpoint path."""
    doubles = b"".join(varint(i << 3 | 1) + struct.pack("<d", v) for i, v in [(1, 108.0), (2, 900.0), (3, 1.0), (4, accuracy), (5, 0.5)])
    return doubles + varint(6 << 3 | 2) + varint(3) + b"abc"


def metrics(*accuracies: float) -> bytes:
    parts = [varint(1 << 3 | 2) + varint(len(evaluation(a))) + evaluation(a) for a in accuracies]
    return b"".join(parts) + varint(2 << 3) + varint(8_555_530) + varint(3 << 3 | 1) + struct.pack("<d", 1.5)


def record(name: str, adjacency: str, operations: list[str], accuracy: float, epochs: int = 108) -> bytes:
    body = json.dumps([name, epochs, adjacency, ",".join(operations), base64.b64encode(metrics(0.1, 0.5, accuracy)).decode()]).encode()
    return struct.pack("<Q", len(body)) + b"crc_" + body + b"crc_"


OPS = ["input", "conv3x3-bn-relu", "maxpool3x3", "output"]


def test_nasbench_cells_become_arms(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "bench.tfrecord"
    path.write_bytes(
        record("a", "0110000100010000", OPS, 0.90)
        + record("b", "0100001000010000", OPS, 0.80)
        + record("a", "0110000100010000", OPS, 0.92)
        + record("c", "010001000", ["input", "conv1x1-bn-relu", "output"], 0.7)
        + record("b", "0100001000010000", OPS, 0.1, epochs=36)
    )
    x, y = read_nasbench(path, 4)
    np.testing.assert_array_equal(x, [[1, 1, 0, 0, 1, 1, 1.0, 0.5], [1, 0, 0, 1, 0, 1, 1.0, 0.5]])
    np.testing.assert_allclose(y, [0.91, 0.80])
    monkeypatch.setenv("WORKINGPAPERS_NASBENCH", str(path))
    point = NasBench101(10, vertices=4)
    point.prepare(lambda share, words: None)
    assert point.load(np.random.default_rng(0)).arms.shape == (2, 8)


@pytest.mark.needs("google.protobuf")
def test_the_reader_of_messages_agrees_with_protobuf() -> None:
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    file = descriptor_pb2.FileDescriptorProto(name="m.proto", package="t", syntax="proto2")
    field = descriptor_pb2.FieldDescriptorProto
    inner = file.message_type.add(name="EvaluationData")
    for i, name in enumerate(["current_epoch", "training_time", "train_accuracy", "validation_accuracy", "test_accuracy"], 1):
        inner.field.add(name=name, number=i, type=field.TYPE_DOUBLE, label=field.LABEL_OPTIONAL)
    outer = file.message_type.add(name="ModelMetrics")
    outer.field.add(name="evaluation_data", number=1, type=field.TYPE_MESSAGE, label=field.LABEL_REPEATED, type_name=".t.EvaluationData")
    outer.field.add(name="trainable_parameters", number=2, type=field.TYPE_INT32, label=field.LABEL_OPTIONAL)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    message = message_factory.GetMessageClass(pool.FindMessageTypeByName("t.ModelMetrics"))(trainable_parameters=-5)
    for accuracy in (0.1, 0.55, 0.943):
        message.evaluation_data.add(validation_accuracy=accuracy, test_accuracy=0.2, current_epoch=54.0)
    assert final_validation_accuracy(message.SerializeToString()) == 0.943


@pytest.mark.parametrize(
    "content",
    [
        b"\x05",
        b"\xff" * 40,
        struct.pack("<Q", 10) + b"crc_short",
        record("a", "0110000100010000", OPS, 0.9)[:-3],
        struct.pack("<Q", 2) + b"crc_{}crc_",
        struct.pack("<Q", 9) + b"crc_not json!crc_",
    ],
)
def test_a_broken_file_is_named(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "bench.tfrecord"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="record"):
        read_nasbench(path, 4)


def test_a_missing_file_is_untested(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKINGPAPERS_NASBENCH", str(tmp_path / "nowhere"))
    with pytest.raises(Untested, match="WORKINGPAPERS_NASBENCH"):
        NasBench101(10).load(np.random.default_rng(0))


@pytest.mark.parametrize("cut", [1, 5, 20, 60])
def test_cut_messages_are_refused(cut: int) -> None:
    with pytest.raises(ValueError):
        final_validation_accuracy(metrics(0.1, 0.2, 0.3)[: -cut - 60])
