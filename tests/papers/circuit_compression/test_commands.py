"""The command line, as a new user comes to it; each command its own process where that matters."""

from __future__ import annotations

import gzip
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.datasets import load_digits
from typer.testing import CliRunner

from workingpapers.papers.circuit_compression.__main__ import app, main

run = CliRunner()


def call(*arguments: object) -> str:
    done = run.invoke(app, [str(a) for a in arguments], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


@pytest.fixture
def digits(tmp_path):
    images = load_digits().images.astype(np.uint8)
    np.save(tmp_path / "train.npy", images[:600])
    np.save(tmp_path / "new.npy", images[600:800])
    call("train", tmp_path / "train.npy", "-o", tmp_path / "m.pcm", "--latents", 4, "--epochs", 3, "-q")
    return tmp_path, images[600:800]


@pytest.mark.slow
def test_compressed_here_restored_by_another_process(digits):
    folder, _ = digits
    told = call("compress", folder / "new.npy", "-m", folder / "m.pcm", "-o", folder / "new.pcz")
    assert "without the model" in told
    assert "with it" in told
    moved = folder / "elsewhere"
    moved.mkdir()
    for name in ("new.pcz", "m.pcm"):
        (folder / name).rename(moved / name)
    command = [sys.executable, "-m", "workingpapers.papers.circuit_compression", "decompress", "new.pcz", "-m", "m.pcm", "-o", "back.npy"]
    done = subprocess.run(command, cwd=moved, capture_output=True, text=True, check=True)
    assert "200 records" in done.stdout
    assert (moved / "back.npy").read_bytes() == (folder / "new.npy").read_bytes()


def test_every_kind_of_image_set_goes_in_and_comes_out(digits):
    folder, images = digits
    (folder / "set").mkdir()
    for i, image in enumerate(images[:30]):
        Image.fromarray(image).save(folder / "set" / f"{i:03d}.png")
    idx = bytes([0, 0, 8, 3, *(30).to_bytes(4, "big"), 0, 0, 0, 8, 0, 0, 0, 8]) + images[:30].tobytes()
    (folder / "t-idx3-ubyte.gz").write_bytes(gzip.compress(idx))
    for source in (folder / "set", folder / "t-idx3-ubyte.gz"):
        call("compress", source, "-m", folder / "m.pcm", "-o", folder / "x.pcz", "--embed", "--layout", "per-record", "-q")
        call("decompress", folder / "x.pcz", "-o", folder / "out", "-q")
        call("decompress", folder / "x.pcz", "-o", folder / "out-idx3-ubyte", "-q")
        assert (folder / "out-idx3-ubyte").read_bytes() == idx
        again = np.stack([np.asarray(Image.open(p)) for p in sorted((folder / "out").iterdir())])
        assert (again == images[:30]).all()
    told = call("info", folder / "x.pcz")
    assert "per-record" in told
    assert "model_embedded" in told
    assert "magic" in call("info", "--format")
    assert "parameters" in call("info", folder / "m.pcm")


def test_tables_carry_their_model(tmp_path):
    rng = np.random.default_rng(0)
    price, n = rng.integers(0, 9_999, 300) / 100, rng.integers(0, 10**6, 300)
    df = pd.DataFrame({"town": rng.choice(["Ulm", "Bonn"], 300), "price": price, "n": n})
    df.to_csv(tmp_path / "t.csv", index=False)
    told = call("compress", tmp_path / "t.csv", "-o", tmp_path / "t.pcz")
    assert "with it" in told
    call("decompress", tmp_path / "t.pcz", "-o", tmp_path / "back.csv", "-q")
    assert (tmp_path / "back.csv").read_bytes() == (tmp_path / "t.csv").read_bytes()
    call("train", tmp_path / "t.csv", "-o", tmp_path / "m.pcz", "-q", "--epochs", 2, "--latents", 2)
    call("compress", tmp_path / "t.csv", "-m", tmp_path / "m.pcz", "-o", tmp_path / "u.pcz", "-q")
    call("decompress", tmp_path / "u.pcz", "-m", tmp_path / "m.pcz", "-o", tmp_path / "back.parquet", "-q")
    call("compress", tmp_path / "back.parquet", "-o", tmp_path / "v.pcz", "-q")
    call("decompress", tmp_path / "v.pcz", "-o", tmp_path / "again.csv", "-q")
    assert (tmp_path / "again.csv").read_bytes() == (tmp_path / "t.csv").read_bytes()


def test_bench_prints_every_codec_with_both_rates(digits):
    folder, _ = digits
    told = call("bench", folder / "train.npy", "--latents", 4, "--epochs", 3, "-q")
    for name in ("circuit, blocks", "circuit, record by record", "PNG, by image", "WebP, one sheet", "JPEG XL, one sheet", "JPEG 2000",
                 "zstd -19 with dictionary", "zstd -22, one stream", "xz -9e, one stream"):
        assert name in told
    rows = {line[:38].strip(): line[38:].split() for line in told.splitlines()[1:-2]}
    for name, (size, side, bits, with_side) in rows.items():
        values = 60 * 64
        assert float(bits) == pytest.approx(8 * int(size.replace(",", "")) / values, rel=0.1), name
        assert float(with_side) >= float(bits)
        assert (int(side.replace(",", "")) > 0) == (name.startswith("circuit") or "dictionary" in name)
    assert "besides" in told


@pytest.mark.parametrize(("arguments", "words"), [
    (["train", "nothing.npy", "-o", "m.pcm"], "does not exist"), (["train", "x.txt", "-o", "m.pcm"], "none of"),
    (["compress", "a.npy", "-o", "x.pcz"], "--model is needed"), (["compress", "a.npy", "-m", "a.npy", "-o", "x.pcz"], "not a .pcm"),
    (["bench", "a.npy", "--against", "png,gif"], "gif"), (["decompress", "a.npy", "-o", "x.npy"], "not a .pcz"),
    (["train", "p.npy", "-o", "m.pcm"], "not a plain .npy")])
def test_wrong_use_is_one_line(tmp_path, monkeypatch, capsys, arguments, words):
    np.save(tmp_path / "a.npy", np.random.default_rng(0).integers(0, 4, size=(50, 3)).astype(np.uint8))
    np.save(tmp_path / "p.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    (tmp_path / "x.txt").write_text("x")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["circuit_compression", *arguments])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 2
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert last.startswith("error: ")
    assert words in last
