"""Round trips, exactness, and the layout of files."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from workingpapers.papers.circuit_compression import HCLT, Archive, Codec, CodecModel, ModelMismatch
from workingpapers.papers.circuit_compression._archive import decoded
from workingpapers.papers.circuit_compression._blocks import code_length, intervals
from workingpapers.papers.circuit_compression._filter import filtered
from workingpapers.papers.circuit_compression._kernels import PRECISION
from workingpapers.papers.circuit_compression._quantise import to_units

HERE = Path(__file__).parent


def quantised(oracles, d=6, m=3, sizes=None, seed=0, roots=1, n_trees=1) -> CodecModel:
    rng = np.random.default_rng(seed)
    sizes = sizes or [4] * d
    trees = [oracles.random_tree_model(rng, d, m, sizes, roots, np.float32) for _ in range(n_trees)]
    return CodecModel.from_trees(trees, np.full(n_trees, 1 / n_trees))


def round_trip(codec: Codec, x: np.ndarray) -> bytes:
    data = codec.compress(x)
    back = codec.decompress(data)
    assert back.dtype == x.dtype
    assert back.shape == x.shape
    assert (back == x).all()
    return data


# ---------------------------------------------------------------- quantising


@settings(max_examples=60, deadline=None)
@given(p=hnp.arrays(np.float32, st.tuples(st.integers(1, 4), st.integers(1, 40)), elements=st.floats(0, 1, width=32)))
def test_units_sum_exactly_and_are_near_in_proportion(p):
    p[:, 0] += np.float32(1e-3)
    units = to_units(p, 16)
    assert (units.sum(axis=1) == 1 << 16).all()
    assert (units >= 1).all()
    share = p.astype(np.float64) / p.astype(np.float64).sum(axis=1, keepdims=True)
    assert np.abs(units / 65536 - share).max() <= (p.shape[1] + 1) / 65536


@pytest.mark.parametrize("p", [np.float32([[0, 0]]), np.float32([[-1, 2]]), np.float32([[np.nan, 1]]), np.ones((1, 1 << 17), np.float32)])
def test_what_cannot_be_shared_out_is_refused(p):
    with pytest.raises(ValueError, match="probabilities"):
        to_units(p, 16)


# ---------------------------------------------------------------- intervals


@pytest.mark.parametrize(("m", "sizes", "roots"), [(1, [5, 2], 1), (4, [3, 1, 7, 2, 2], 1), (8, [300, 2, 20], 2), (3, [256] * 4, 1)])
def test_intervals_tile_and_agree_with_the_float_filter(oracles, m, sizes, roots):
    """For every value of a variable, given what came before: starts follow on one another up to 2^28, and shares are the model's."""
    model = quantised(oracles, len(sizes), m, sizes, m, roots)
    tree = model.to_trees()[0][0]
    rng = np.random.default_rng(0)
    x = np.stack([rng.integers(k, size=3) for k in sizes], axis=1).astype(np.int32)
    order = tree.order
    lower, point = filtered(tree, x)
    starts, lengths = intervals(model, x, 0)
    np.testing.assert_allclose(lengths / 2**PRECISION, point[:, order], atol=1e-6, rtol=1e-4)
    np.testing.assert_allclose(starts / 2**PRECISION, lower[:, order], atol=1e-6)
    for at, v in enumerate(order):
        every = np.repeat(x[:1], sizes[v], axis=0)
        every[:, v] = np.arange(sizes[v])
        start, length = (t[:, at].astype(np.int64) for t in intervals(model, every, 0))
        assert start[0] == 0
        assert (start[1:] == (start + length)[:-1]).all()
        assert start[-1] + length[-1] == 1 << PRECISION
        assert length.min() >= 1 << (PRECISION - model.leaf_bits)


@pytest.mark.slow
def test_code_length_is_that_of_the_float_model(oracles):
    model = quantised(oracles, 30, 6, [16] * 30, 3)
    trees, _ = model.to_trees()
    x = trees[0].sample(300, np.random.default_rng(1)).astype(np.int32)
    ideal = -trees[0].log_likelihood(x) / np.log(2)
    np.testing.assert_allclose(code_length(model, x), ideal, atol=0.01)


@pytest.mark.needs("constriction")
def test_stream_is_as_long_as_that_of_a_reference_coder(oracles):
    import constriction

    model = quantised(oracles, 40, 4, [16] * 40, 5)
    x = model.to_trees()[0][0].sample(400, np.random.default_rng(1))
    starts, lengths = (t.astype(np.float64).ravel() / 2**PRECISION for t in intervals(model, x.astype(np.int32), 0))
    three = np.stack([starts, lengths, 1 - starts - lengths], axis=1).clip(1e-9)
    coder = constriction.stream.stack.AnsCoder()
    coder.encode_reverse(np.ones(len(starts), dtype=np.int32), constriction.stream.model.Categorical(perfect=False), three)
    theirs = 32 * len(coder.get_compressed())
    payload = Codec(model, block_records=400).inspect(Codec(model, block_records=400).compress(x))["data_bytes"] * 8
    assert abs(payload - 4 * 32 - theirs) / theirs < 1e-3  # four lanes begin at 2^31 where theirs begins empty


# ---------------------------------------------------------------- round trips


@pytest.mark.parametrize("layout", ["block", "per-record"])
@pytest.mark.parametrize("n_trees", [1, 3])
@pytest.mark.parametrize("x", [
    np.random.default_rng(0).integers(0, 4, size=(70, 6)).astype(np.uint8), np.full((50, 6), 3, np.uint8), np.zeros((0, 6), np.uint8),
    np.zeros((1, 6), np.int64), np.random.default_rng(1).integers(0, 4, size=(33, 2, 3)).astype(np.uint16), np.zeros((5, 6), bool)],
    ids=["noise", "all highest", "empty", "one record", "shaped", "truth values"])
def test_round_trips(oracles, layout, n_trees, x):
    model = quantised(oracles, n_trees=n_trees)
    for block_records in (None, 1, 7):
        round_trip(Codec(model, layout=layout, block_records=block_records), x)
    round_trip(Codec(model, layout=layout, embed=True), x)


@pytest.mark.parametrize("layout", ["block", "per-record"])
@pytest.mark.parametrize(("sizes", "m"), [([2], 2), ([1], 3), ([1, 1], 1), ([2] * 9, 5), ([65_536, 65_536], 2), ([65_536, 2, 1, 300], 3)])
def test_round_trips_of_odd_sizes(oracles, layout, sizes, m):
    model = quantised(oracles, len(sizes), m, sizes)
    rng = np.random.default_rng(0)
    x = np.stack([rng.integers(k, size=40) for k in sizes], axis=1).astype(np.int32)
    x[0] = np.array(sizes) - 1
    round_trip(Codec(model, layout=layout, embed=True), x)


@pytest.mark.parametrize("layout", ["block", "per-record"])
def test_all_255_and_noise_under_a_model_that_never_saw_them(layout):
    rng = np.random.default_rng(0)
    seen = np.zeros((50, 6, 6), np.uint8) + rng.integers(0, 2, size=(50, 1, 1)).astype(np.uint8)
    model = HCLT(4, 256, random_state=0).fit(seen).quantise()
    for x in (np.full((20, 6, 6), 255, np.uint8), rng.integers(0, 256, size=(40, 6, 6)).astype(np.uint8)):
        data = round_trip(Codec(model, layout=layout), x)
        assert len(data) < 3 * x.nbytes + 400


@pytest.mark.slow
def test_a_hundred_thousand_records(oracles):
    model = quantised(oracles, 4, 2, [3] * 4)
    x = np.random.default_rng(0).integers(0, 3, size=(100_000, 4)).astype(np.uint8)
    for layout in ("block", "per-record"):
        round_trip(Codec(model, layout=layout, threads=2), x)


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_any_records_come_back(data):
    d, k, m = data.draw(st.integers(1, 7)), data.draw(st.integers(1, 9)), data.draw(st.integers(1, 4))
    seed, n_trees = data.draw(st.integers(0, 999)), data.draw(st.integers(1, 2))
    rng = np.random.default_rng(seed)
    train = rng.integers(0, k, size=(data.draw(st.integers(2, 40)), d))
    model = HCLT(m, k, n_trees=n_trees, random_state=seed).fit(train, epochs=1, full_epochs=0).quantise()
    x = data.draw(hnp.arrays(np.uint8, st.tuples(st.integers(0, 40), st.just(d)), elements=st.integers(0, k - 1)))
    layout = data.draw(st.sampled_from(["block", "per-record"]))
    codec = Codec(model, layout=layout, block_records=data.draw(st.sampled_from([None, 1, 5])), embed=data.draw(st.booleans()))
    data_ = round_trip(codec, x)
    if len(x):
        overhead = 8 * codec.inspect(data_)["data_bytes"] - codec.code_length(x).sum()
        assert overhead >= -1e-6


@pytest.mark.parametrize("dtype", ["int8", "int16", "int64", "uint64", "uint8", "bool"])
def test_escapes_keep_any_value_of_any_type(oracles, dtype):
    model = quantised(oracles, 6, 2, [2] * 6)
    x = np.zeros((30, 6), dtype=dtype)
    if dtype != "bool":
        info = np.iinfo(dtype)
        x[3, 2], x[3, 5], x[29, 0] = info.max, info.min, info.max - 1
    for layout in ("block", "per-record"):
        codec = Codec(model, layout=layout, escape=True, block_records=8, embed=True)
        data = round_trip(codec, x)
        with Archive(data) as archive:
            assert (archive[3] == x[3]).all()
            assert (archive[[29, 3, 3]] == x[[29, 3, 3]]).all()


def test_many_escapes_go_back_to_their_places_and_no_others():
    rng = np.random.default_rng(1)
    kept = {(int(i), int(v)): int(n) for i, v, n in zip(rng.integers(0, 900, 4000), rng.integers(0, 5, 4000), rng.integers(9, 250, 4000))}
    values = rng.integers(0, 4, size=(900, 5), dtype=np.int32)
    whole = values.copy()
    for (i, v), n in kept.items():
        whole[i, v] = n
    for places in (np.arange(900), rng.permutation(900)[:100], rng.integers(0, 900, 300), np.array([], dtype=np.int64)):
        assert (decoded(values[places], kept, np.dtype("uint8"), places) == whole[places]).all()


def test_per_record_overhead_is_small_and_block_overhead_smaller():
    rng = np.random.default_rng(0)
    x = rng.integers(0, 16, size=(600, 1)) // 2 + rng.integers(0, 8, size=(600, 400))
    model = HCLT(4, 16, random_state=0).fit(x[:300], epochs=2).quantise()
    for layout, most in (("block", 2), ("per-record", 47)):
        codec = Codec(model, layout=layout)
        held = 8 * codec.inspect(codec.compress(x))["data_bytes"] - codec.code_length(x).sum()
        assert 0 < held / len(x) < most


# ---------------------------------------------------------------- exactness


@pytest.mark.parametrize("layout", ["block", "per-record"])
def test_bytes_do_not_depend_on_threads(oracles, layout):
    model = quantised(oracles, n_trees=2)
    x = np.random.default_rng(0).integers(0, 4, size=(500, 6)).astype(np.uint8)
    data = {t: Codec(model, layout=layout, block_records=40, threads=t).compress(x) for t in (1, 2, 4)}
    assert data[1] == data[2] == data[4]
    for t in (1, 2, 4):
        assert (Codec(model, threads=t).decompress(data[1]) == x).all()


def golden() -> tuple[np.ndarray, dict[str, bytes]]:
    with np.load(HERE / "golden.npz", allow_pickle=False) as kept:
        return kept["records"], {k: kept[k].tobytes() for k in kept.files if k != "records"}


def test_golden_files_decode_and_are_written_again_byte_for_byte():
    """Files of an earlier day, another machine: written once by make_golden.py, never changed."""
    records, files = golden()
    assert sorted(files) == ["block", "per_record", "trees"]
    for name, data in files.items():
        with Archive(data) as archive:
            assert (archive.read() == records).all(), name
            layout = "per-record" if name == "per_record" else "block"
            codec = Codec(archive.model, layout=layout, block_records=archive.header.block_records)
            again = codec.compress(records)
            with Archive(again, archive.model) as plain:
                assert [b.crc for b in plain.blocks] == [b.crc for b in archive.blocks], name


@pytest.mark.slow
def test_same_bytes_with_the_compiler_off(tmp_path):
    """Pure Python computes the same file, and reads the compiled one."""
    program = """
import sys, warnings
import numpy as np
warnings.simplefilter("error", RuntimeWarning)     # an overflow would be one
import numba
assert numba.config.DISABLE_JIT
from workingpapers.papers.circuit_compression import Archive, Codec
with np.load(sys.argv[1], allow_pickle=False) as kept:
    records = kept["records"][:6]
    data = kept["block"].tobytes()
with Archive(data) as archive:
    model = archive.model
    assert (archive.read()[:6] == records).all()
for layout in ("block", "per-record"):
    open(sys.argv[2] + layout, "wb").write(Codec(model, layout=layout).compress(records))
"""
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "1", "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    command = [sys.executable, "-c", program, str(HERE / "golden.npz"), str(tmp_path / "x")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    records, files = golden()
    with Archive(files["block"]) as archive:
        for layout in ("block", "per-record"):
            assert (tmp_path / f"x{layout}").read_bytes() == Codec(archive.model, layout=layout).compress(records[:6])


# ---------------------------------------------------------------- files


def test_an_archive_is_a_sequence(oracles, tmp_path):
    model = quantised(oracles)
    x = np.random.default_rng(0).integers(0, 4, size=(100, 2, 3)).astype(np.uint8)
    for layout in ("block", "per-record"):
        path = tmp_path / f"{layout}.pcz"
        Codec(model, layout=layout, block_records=16).write(path, x)
        with Codec(model).open(path) as archive:
            assert archive.shape == x.shape
            assert archive.dtype == x.dtype
            assert len(archive) == 100
            for i in (0, 15, 16, 99, -1, -100):
                assert (archive[i] == x[i]).all()
            assert (archive[10:90:7] == x[10:90:7]).all()
            assert (archive[np.array([5, 5, 80])] == x[[5, 5, 80]]).all()
            assert archive[5:5].shape == (0, 2, 3)
            with pytest.raises(IndexError):
                archive[100]
            assert [row.tobytes() for row in archive] == [row.tobytes() for row in x]


def test_records_may_come_in_pieces(oracles):
    model = quantised(oracles)
    x = np.random.default_rng(0).integers(0, 4, size=(100, 6)).astype(np.uint8)
    codec = Codec(model, block_records=16)
    assert codec.compress(iter([x[:3], x[3:50], x[50:50], x[50:]])) == codec.compress(x)
    done: list[int] = []
    codec.compress(x, progress=done.append)
    assert done == [16, 32, 48, 64, 80, 96, 100]


def test_append(oracles, tmp_path):
    model = quantised(oracles)
    x = np.random.default_rng(0).integers(0, 4, size=(100, 6)).astype(np.uint8)
    path = tmp_path / "a.pcz"
    codec = Codec(model, embed=True, block_records=16)
    codec.write(path, x[:40])
    codec.append(path, x[40:])
    with Archive(path) as archive:
        assert (archive.read() == x).all()
    with pytest.raises(ValueError, match="layout"):
        Codec(model, layout="per-record").append(path, x)
    with pytest.raises(ValueError, match="all must be alike"):
        codec.append(path, x[:, :5])
    with pytest.raises(ValueError, match="takes 0"):
        codec.append(path, x + 9)
    with Archive(path) as archive:
        assert (archive.read() == x).all()
    assert [p.name for p in tmp_path.iterdir()] == ["a.pcz"]


def test_wrong_model_is_named(oracles, tmp_path):
    a, b = quantised(oracles, seed=0), quantised(oracles, seed=1)
    x = np.zeros((3, 6), np.uint8)
    data = Codec(a).compress(x)
    with pytest.raises(ModelMismatch, match=a.sha256.hex()[:16]):
        Codec(b).decompress(data)
    with pytest.raises(ModelMismatch, match="holds no model"):
        Archive(data)
    with pytest.raises(ModelMismatch):
        Codec(b).decompress(Codec(a, embed=True).compress(x))


def test_inspect_needs_no_model(oracles):
    model = quantised(oracles)
    told = Codec.inspect(Codec(model, embed=True).compress(np.zeros((9, 6), np.uint8)))
    assert told["records"] == 9
    assert told["model_embedded"]
    assert told["model_bytes"] == len(model.packed)
    assert told["model_sha256"] == model.sha256.hex()


def test_model_bytes_come_back(oracles):
    for sizes in ([4] * 6, [1], [65_536], [300, 2]):
        model = quantised(oracles, len(sizes), 3, sizes, n_trees=2)
        assert CodecModel.unpack(model.packed).sha256 == model.sha256 == CodecModel.from_raw(model.raw).sha256
    flat = HCLT(8, 256, random_state=0, smoothing=1e9).fit(np.zeros((3, 400), int), epochs=1, full_epochs=0).quantise()
    assert CodecModel.unpack(flat.packed).sha256 == flat.sha256  # unfolds too far for zstd: stored plain


@pytest.mark.parametrize(("x", "words"), [
    (np.zeros((2, 6)), "integers or booleans"), (np.zeros((2, 5), int), "6 values"), (np.zeros(6, int), "6 values"),
    (np.full((1, 6), 4), "takes 0 to 3"), (np.full((1, 6), -1), "takes 0 to 3"), (np.array([["a"] * 6]), "integers or booleans")])
def test_bad_records_are_refused(oracles, x, words):
    with pytest.raises(ValueError, match=words):
        Codec(quantised(oracles)).compress(x)


def test_bad_options_are_refused(oracles):
    model = quantised(oracles)
    for options, words in [({"layout": "x"}, "layout"), ({"threads": 0}, "threads"), ({"block_records": 0}, "block_records"),
                           ({"block_records": 1 << 40}, "block_records")]:
        with pytest.raises(ValueError, match=words):
            Codec(model, **options)
    with pytest.raises(TypeError, match="quantise"):
        Codec(HCLT())
    with pytest.raises(ValueError, match="empty iterable"):
        Codec(model).compress(iter([]))


def test_a_failed_write_leaves_the_old_file(oracles, tmp_path):
    path = tmp_path / "a.pcz"
    codec = Codec(quantised(oracles), block_records=2)
    codec.write(path, np.zeros((5, 6), np.uint8))
    before = path.read_bytes()
    with pytest.raises(ValueError):
        codec.write(path, iter([np.zeros((5, 6), np.uint8), np.full((5, 6), 9, np.uint8)]))
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["a.pcz"]
