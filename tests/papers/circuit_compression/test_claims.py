"""The claims: their trials measure what they say; baselines give back what they were given; a worse method changes the verdict."""

from __future__ import annotations

import importlib
import os
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from workingpapers.claims import Claim, TimedTrial, Trial, Verdict
from workingpapers.papers.catalogue import load_catalogue
from workingpapers.papers.circuit_compression import HCLT, Codec, ConditionalPC
from workingpapers.papers.circuit_compression._peers import chosen, peers, sheet, unsheet

if os.environ.get("WORKINGPAPERS_REQUIRE_ALL") != "1":
    pytest.importorskip("workingpapers.papers.circuit_compression.claims", reason="needs the extra compression")
claims = importlib.import_module("workingpapers.papers.circuit_compression.claims")
bbans = importlib.import_module("workingpapers.papers.circuit_compression._bbans")

SMALL = claims.ImageSet("digits", 300, 60, 4, 2, 1, 64, 1)


def trial(claim: Claim, arm: str, point: Any = SMALL, seed: int = 0) -> Trial:
    return Trial(claim=claim.id, seed=seed, point=point, scale="smoke", arm=claim.arms[arm])


def test_every_claim_of_the_toml_is_there() -> None:
    ids = [c.id for c in load_catalogue().find("circuit_compression").facts.claims]
    made = [v for v in vars(claims).values() if isinstance(v, Claim)]
    assert sorted(c.id for c in made) == sorted(ids)
    for claim in made:
        assert set(claim.scales) == {"smoke", "small", "full"}
        assert any(a.role in ("control", "peer") for a in claim.arms.values())


def test_training_and_test_records_share_nothing() -> None:
    split = SMALL.load(np.random.default_rng(0))
    assert not {a.tobytes() for a in split.train} & {a.tobytes() for a in split.test}
    assert len(split.test) == 60
    assert SMALL.load(np.random.default_rng(1)).test.tobytes() != split.test.tobytes()


@pytest.mark.slow
def test_roundtrip_counts_records_that_come_back_different() -> None:
    claim = claims.roundtrip
    for arm in claim.arms:
        given = claim.parts[0].function(trial(claim, arm))
        assert given["mismatches"] == 0
        assert given["record_overhead"] == pytest.approx(given["overhead"] * 64)

    def careless(model: Any, x: Any) -> Any:
        back = x.copy()
        back[5, 0, 0] ^= 1
        return claims.Coded(back, 8 * x.size)

    broken = replace(claim.arms["blocks"], target=careless, options={})
    part = replace(claim.parts[0], points=replace(claim.parts[0].points, values={"smoke": [SMALL]}))
    tried = replace(claim, arms={**claim.arms, "blocks": broken}, parts=[part])
    assert tried.decide(tried.try_all("smoke")).verdict is Verdict.FAILS


def test_bitrate_is_of_bytes_that_were_written() -> None:
    claim = claims.bitrate
    names = ("HCLT", "xz", "zstd")
    given = {arm: claim.parts[0].function(trial(claim, arm)) for arm in names}
    split = SMALL.load(trial(claim, "HCLT").rng)
    model = claims.fit(split, SMALL, 0).quantise()
    assert given["HCLT"]["bpd"] == pytest.approx(8 * len(Codec(model).compress(split.test)) / split.test.size)
    assert given["HCLT"]["bpd_with_model"] - given["HCLT"]["bpd"] == pytest.approx(8 * len(model.packed) / split.test.size)
    assert given["HCLT"]["bpd"] < given["HCLT"]["bpd_by_image"]
    assert given["xz"]["bpd"] == given["xz"]["bpd_with_model"] < given["xz"]["bpd_by_image"]
    stream = len(peers()["xz -9e, one stream"].encode(split.test, b"")[0])
    assert given["xz"]["bpd"] == pytest.approx(8 * stream / split.test.size)
    n = given["HCLT"]["break_even"]
    best = claims.by_peer(split, SMALL, 0, "xz").data
    ours = given["HCLT"]["bpd"] * split.test.size / 8
    assert n * ours / len(split.test) + len(model.packed) == pytest.approx(n * best / len(split.test))


def test_peers_give_back_what_they_were_given() -> None:
    split = SMALL.load(np.random.default_rng(2))
    for x in (split.test, split.test[:1]):
        for name, codec in peers().items():
            side = codec.side(split.train)
            assert (codec.decode(codec.encode(x, side), x.shape, side) == x).all(), name
    assert (unsheet(sheet(split.test[:7]), (7, 8, 8)) == split.test[:7]).all()
    assert {p.name for p in chosen(["png", "xz"])} == {"PNG, by image", "PNG, one sheet", "xz -9e, by record", "xz -9e, one stream"}
    with pytest.raises(ValueError, match="gif"):
        chosen(["gif"])


@pytest.mark.slow
def test_bits_back_decodes_and_is_near_its_bound() -> None:
    split = claims.ImageSet("digits", 1_000, 400).load(np.random.default_rng(0))
    coder = bbans.BBANS(17, hidden=50, latents=8, epochs=4, chains=4).fit(split.train)
    stacks = coder.compress(split.test)
    assert (coder.decompress(stacks, len(split.test)) == split.test.reshape(len(split.test), -1)).all()
    size = 32 * sum(map(len, stacks)) / split.test.size
    # Latents are coded in 4,096 cells, so that a length a little below the bound for continuous ones is possible.
    assert size == pytest.approx(coder.bpd(split.test, samples=3), rel=0.05)
    few = coder.compress(split.test[:3])
    assert (coder.decompress(few, 3) == split.test[:3].reshape(3, -1)).all()


def test_log_density_of_the_neural_baseline_sums_to_one() -> None:
    import torch

    a, b = torch.tensor([0.3, 5.0, 200.0]), torch.tensor([2.0, 0.4, 190.0])
    x = torch.arange(17.0)[:, None]
    total = torch.exp(bbans._log_beta_binomial(x, 16, a, b)).sum(dim=0)
    assert torch.allclose(total, torch.ones(3), atol=1e-4)


def test_shapes_have_the_pixels_and_the_vtrees_they_say() -> None:
    for kind in ("balanced", "chain", "pixel tree"):
        circuit = claims.Shape(kind, 36).load(np.random.default_rng(0))
        circuit.check()
        assert circuit.vtree.n_variables == 36
    depth = [max(_depth(claims.Shape(k, 64).load(np.random.default_rng(0)).vtree)) for k in ("balanced", "pixel tree", "chain")]
    assert depth[0] == 6 < depth[1] < depth[2] == 63


def _depth(vtree: Any) -> list[int]:
    out = []
    for n in np.flatnonzero(vtree.variable >= 0):
        steps = 0
        while vtree.parent[n] >= 0:
            n, steps = vtree.parent[n], steps + 1
        out.append(steps)
    return out


@pytest.mark.slow
def test_units_are_set_against_their_bound() -> None:
    claim = claims.logd
    point = claims.Shape("balanced", 16)
    given = claim.parts[0].function(TimedTrial(claim=claim.id, seed=0, point=point, scale="smoke", arms=claim.arms))
    size = point.load(np.random.default_rng(0)).size
    for arm in claim.arms:
        assert given[arm]["units_over_bound"] == pytest.approx(given[arm]["units"] / size / 5)
    assert given[claims.WHOLE]["units_over_size"] == 16
    assert given[claims.CARRIED]["units_over_size"] <= 3


def test_a_circuit_for_each_context() -> None:
    split = claims.ImageSet("digits", 800, 200).load(np.random.default_rng(0))
    labels = (split.train.mean(axis=(1, 2)) > np.median(split.train.mean(axis=(1, 2)))).astype(int)
    prior = ConditionalPC(n_latents=3, n_categories=17, random_state=0).fit(split.train, labels, epochs=2)
    codec = Codec(prior.quantise())
    assert (codec.decompress(codec.compress(split.test)) == split.test).all()
    one = Codec(prior.model(0).quantise())
    dark = split.train[labels == 0]
    assert len(one.compress(dark)) < len(Codec(prior.model(1).quantise()).compress(dark))
    plain = HCLT(3, 17, random_state=0).fit(split.train, epochs=2)
    assert prior.score_samples(split.train, labels).mean() > plain.score_samples(split.train).mean()
    for bad in (np.ones(3, int), labels - 1, labels * 2, labels.astype(float)):
        with pytest.raises(ValueError, match="context"):
            ConditionalPC(2, 17).fit(split.train, bad)
    with pytest.raises(ValueError, match="context"):
        prior.model(2)
