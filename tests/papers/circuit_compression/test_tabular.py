"""Data frames come back equal, whatever is in them."""

from __future__ import annotations

import json
import lzma
import os

import numpy as np
import pandas as pd
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from workingpapers.papers.circuit_compression import Archive, Codec, CorruptStream, ModelMismatch, TabularCodec, read_table
from workingpapers.papers.circuit_compression._files import parquet_bytes
from workingpapers.workloads.adult import load_adult
from workingpapers.workloads.archives import Unavailable


def everything(n: int, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    town = rng.choice(["Ulm", "Bonn", "Köln", ""], size=n)
    return pd.DataFrame({
        "town": pd.Series(town).mask(rng.random(n) < 0.1),
        "kind": pd.Categorical(rng.choice(["b", "a"], size=n), categories=["a", "b", "unused"], ordered=True),
        "small": rng.integers(-3, 4, size=n).astype(np.int8),
        "large": rng.integers(-(10**12), 10**12, size=n),
        "unsigned": rng.integers(0, 2**64, size=n, dtype=np.uint64),
        "price": np.where(rng.random(n) < 0.2, np.nan, rng.integers(0, 10**6, size=n) / 100),
        "noise": rng.normal(size=n),
        "single": rng.normal(size=n).astype(np.float32),
        "yes": rng.random(n) < 0.3,
        "maybe": pd.array(np.where(rng.random(n) < 0.3, None, rng.integers(0, 9, size=n)), dtype="Int64"),
        "day": pd.to_datetime("2020-01-01") + pd.to_timedelta(rng.integers(0, 10**6, size=n), unit="s"),
    })  # fmt: skip


def test_every_type_comes_back():
    df = everything(700)
    codec = TabularCodec(n_latents=4, random_state=0, epochs=2).fit(df)
    data = codec.compress(df)
    pd.testing.assert_frame_equal(codec.decompress(data), df)
    pd.testing.assert_frame_equal(read_table(data), df)
    kinds = {c.name: c.kind for c in codec.schema_}
    assert kinds["price"] == "decimal"
    assert kinds["noise"] == kinds["single"] == "bits"
    assert kinds["large"] == kinds["unsigned"] == "integer"


def test_values_that_were_not_there_while_learning_come_back_too():
    df = everything(300)
    codec = TabularCodec(n_latents=3, random_state=0, epochs=1).fit(df)
    new = everything(40, seed=1)
    new["town"] = new["town"].astype(object)
    new.loc[3, "town"], new.loc[4, "small"], new.loc[5, "large"] = "Rom", 99, -(2**62)
    new.loc[6, "price"], new.loc[7, "price"], new.loc[8, "price"] = -0.0, 1e300, np.inf
    new.loc[9, "price"] = 0.1 + 0.2
    new.loc[10, "noise"] = -np.inf
    new["town"] = new["town"].astype(df["town"].dtype)
    back = codec.decompress(codec.compress(new))
    pd.testing.assert_frame_equal(back, new)
    assert np.signbit(back["price"][6])


def test_missing_values_where_none_were_learned():
    df = pd.DataFrame({"a": ["x", "y"] * 20, "b": [1.5, 2.5] * 20})
    codec = TabularCodec(n_latents=2, random_state=0, epochs=1).fit(df)
    new = pd.DataFrame({"a": ["x", None, "y"], "b": [1.5, 2.5, np.nan]}).astype({"a": df["a"].dtype})
    pd.testing.assert_frame_equal(codec.decompress(codec.compress(new)), new)
    assert len(codec.decompress(codec.compress(new[:0]))) == 0


@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_any_floats_come_back_bit_for_bit(data):
    column = data.draw(st.lists(st.floats(allow_nan=True, width=64), min_size=1, max_size=30))
    other = data.draw(st.lists(st.integers(-(2**63), 2**63 - 1), min_size=len(column), max_size=len(column)))
    df = pd.DataFrame({"x": column, "n": np.array(other, dtype=np.int64)})
    codec = TabularCodec(n_latents=2, random_state=0, epochs=1).fit(df)
    back = codec.decompress(codec.compress(df))
    assert (back["n"] == df["n"]).all()
    same = back["x"].to_numpy().view(np.int64) == df["x"].to_numpy().view(np.int64)
    assert (same | (back["x"].isna() & df["x"].isna()).to_numpy()).all()


def test_save_load_and_single_rows(tmp_path):
    df = everything(200)
    codec = TabularCodec(n_latents=2, random_state=0, epochs=1, layout="per-record").fit(df)
    codec.save(tmp_path / "t.pcz")
    again = TabularCodec.load(tmp_path / "t.pcz")
    data = again.compress(df, embed=False)
    pd.testing.assert_frame_equal(codec.decompress(data), df)
    with pytest.raises(ModelMismatch):
        read_table(data)
    with Archive(data, codec.model_) as archive:
        assert len(archive) == 200
        assert archive[7].shape == (codec.model_.n_variables,)


def test_what_is_no_table_is_refused():
    df = everything(50)
    codec = TabularCodec(n_latents=2, random_state=0, epochs=1)
    for bad, words in [
        (df[[]], "no columns"), (df[:0], "no rows"), (df.set_index("small"), "reset_index"), (df.rename(columns={"town": 3}), "strings"),
        (pd.DataFrame({"a": [object()]}), "types"), (pd.DataFrame({"a": ["x", 1]}, dtype=object), "types"),
        (pd.DataFrame({"a": [1j]}), "complex"), (pd.DataFrame({"a": [str(i) for i in range(5_000)]}), "different values")]:
        with pytest.raises(ValueError, match=words):
            codec.fit(bad)
    with pytest.raises(TypeError, match="DataFrame"):
        codec.fit([1, 2])
    codec.fit(df)
    with pytest.raises(ValueError, match="were learned"):
        codec.compress(df[["town"]])
    with pytest.raises(CorruptStream, match="no table"):
        read_table(Codec(codec.model_, embed=True).compress(np.zeros((1, codec.model_.n_variables), np.uint8)))


@pytest.mark.parametrize("change", [
    lambda s: s.update(kind="x"), lambda s: s.update(columns=[]), lambda s: s.update(columns=3), lambda s: s["columns"].pop(),
    lambda s: s["columns"][0].update(kind="pickle"), lambda s: s["columns"][0].update(n_bytes=10**9),
    lambda s: s["columns"][0].update(values=[[1]]), lambda s: s["columns"][0].pop("name"), lambda s: s["columns"][0].update(extra=1),
    lambda s: s.update(aside={"town": {"999999": "x"}}), lambda s: s.update(aside={"price": {"1": "zzz"}}),
    lambda s: s.update(aside={"town": {"a": 1}}), lambda s: s["columns"][3].update(dtype="pickle"),
    lambda s: s["columns"][2].update(values=["a"] * 7), lambda s: s["columns"][8].update(values=[2.5, "x"])])
def test_forged_schemas_are_refused(change):
    df = everything(60)
    codec = TabularCodec(n_latents=2, random_state=0, epochs=1).fit(df)
    with Archive(codec.compress(df)) as archive:
        schema, values, model = json.loads(archive.schema), archive.read(), archive.model
    change(schema)
    with pytest.raises(CorruptStream):
        read_table(Codec(model, embed=True).compress(values, schema=json.dumps(schema).encode()))


@pytest.mark.slow
def test_categories_of_the_census_take_less_than_general_codecs():
    try:
        df = load_adult()
    except Unavailable as error:
        if os.environ.get("WORKINGPAPERS_REQUIRE_ALL") == "1":
            raise
        pytest.skip(str(error))
    df = df[["workclass", "education", "marital-status", "occupation", "relationship", "race", "sex", "native-country"]].copy()
    codec = TabularCodec(random_state=0).fit(df)
    data = codec.compress(df)
    pd.testing.assert_frame_equal(codec.decompress(data), df)
    text = df.to_csv(index=False).encode()
    others = {"xz": len(lzma.compress(text, preset=9 | lzma.PRESET_EXTREME)), "parquet": len(parquet_bytes(df, 22)),
              "zstd": len(zstandard.ZstdCompressor(level=22).compress(text))}
    assert len(data) < min(others.values()), (len(data), others)
