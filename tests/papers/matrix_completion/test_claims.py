"""The claims: their trials measure what they say, and methods that stop being such change the verdict."""

from __future__ import annotations

import importlib
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

from workingpapers.claims import Claim, Measurement, Results, Trial, Workload
from workingpapers.papers.catalogue import load_catalogue
from workingpapers.papers.matrix_completion import simulate_ratings
from workingpapers.papers.matrix_completion._cost import exact_flops
from workingpapers.papers.matrix_completion._sweep import How
from workingpapers.workloads.ratings import MovieLens, parse_ratings

claims = importlib.import_module("workingpapers.papers.matrix_completion.claims")


def attempt(claim: Claim, arm: str, point: Any, seed: int = 0, part: int = 0) -> dict[str, float]:
    return claim.parts[part].function(Trial(claim=claim.id, seed=seed, point=point, scale="smoke", arm=claim.arms[arm]))


def test_every_claim_of_the_toml_is_there() -> None:
    ids = [c.id for c in load_catalogue().find("matrix_completion").facts.claims]
    made = [v for v in vars(claims).values() if isinstance(v, Claim)]
    assert sorted(c.id for c in made) == sorted(ids)
    for claim in made:
        assert set(claim.scales) == {"smoke", "small", "full"}
        assert all(part.seeds[scale] >= 3 for part in claim.parts for scale in claim.scales)


@pytest.mark.slow
@pytest.mark.parametrize("arm", ["sketch of each", "shared basis", "exact"])
def test_recovery_is_told_from_its_absence(arm: str) -> None:
    enough, short = claims.Sampled(80, 2, 5), claims.Sampled(80, 2, 1)
    found = attempt(claims.same_recovery, arm, enough)
    assert found["recovered"] == 1
    assert found["final_error"] < 1e-4
    assert attempt(claims.same_recovery, arm, short)["recovered"] == 0  # as many entries as unknowns
    assert attempt(claims.same_recovery, "start without updates", enough)["recovered"] == 0


def test_a_method_that_does_not_solve_its_regressions_is_found_out() -> None:
    claim = claims.same_recovery
    lazy = replace(claim.arms["sketch of each"], options={"solver": "cg", "max_passes": 0})
    broken = replace(claim, arms={**claim.arms, "sketch of each": lazy})
    assert attempt(broken, "sketch of each", claims.Sampled(80, 2, 5))["recovered"] == 0


def test_operations_are_those_of_the_updates() -> None:
    point = claims.Regressions(4, 50, 10, 200)
    found = attempt(claims.linear_in_rank, "exact", point)["flops"]
    assert found == pytest.approx(exact_flops(np.full(10, 50.0), 4).sum())
    U, side, X = point.load(np.random.default_rng(0))
    assert U.shape == (200, 4)
    assert (side.counts == 50).all()
    np.testing.assert_allclose(U.T @ U, 200 * np.eye(4), atol=1e-9)
    wanted = np.array([np.linalg.lstsq(U[side.indices[s]], side.values[s], rcond=None)[0] for s in (slice(0, 50), slice(50, 100))])
    assert np.linalg.norm(X[:2] - wanted) / np.linalg.norm(wanted) < 0.05  # off by a hundredth a number


def test_clustered_rows_are_far_from_random_ones() -> None:
    even = claims.Regressions(30, 350, 4, 8_000)
    clustered = replace(even, clusters=8)
    for arm, times in (("shared basis", 1.5), ("sketch of each", 0.5)):
        ratio = (attempt(claims.linear_in_rank, arm, clustered, part=2)["flops_clustered"]
                 / attempt(claims.linear_in_rank, arm, even, part=2)["flops_clustered"])
        assert ratio > times


def test_where_times_cross() -> None:
    table = {10: {"shared basis": 2.0, "exact": 1.0}, 40: {"shared basis": 1.0, "exact": 2.0}}
    assert claims.crossing(table) == pytest.approx(20)
    assert claims.crossing({10: {"shared basis": 1.0, "exact": 2.0}, 40: {"shared basis": 1.0, "exact": 3.0}}) is None


def test_the_plot_of_times_marks_the_crossing() -> None:
    times = {5: (2.0, 1.0), 20: (2.0, 1.0), 80: (2.0, 4.0)}
    rows = [Measurement("seconds", arm, seed, f"rank {k}", "seconds", t) for k, pair in times.items() for seed in range(3)
            for arm, t in zip(("shared basis", "exact"), pair)]
    results = Results(rows, [], {}, {f"rank {k}": {"k": float(k)} for k in times})
    drawn = str(claims.time_by_rank(results).to_dict())
    assert "cross at 40" in drawn
    assert drawn.count("'seconds': 4.0") == 1


def test_injected_errors_are_as_large_as_they_say() -> None:
    for level in (0.1, 0.01):
        found = attempt(claims.error_tolerance, "disturbed", claims.Sampled(80, 2, 6, level))
        assert 1 <= found["amplification"] <= 5
    assert attempt(claims.error_tolerance, "exact", claims.Sampled(80, 2, 6, 0.1))["relative_error"] < 1e-10


def test_ratings_of_a_movielens_archive_are_tried(tmp_path: Path) -> None:
    """An archive laid out as ml-1m.zip is, through the workload's own loader."""
    rows, cols, vals, _ = simulate_ratings(120, 80, 2_500, rng=0)
    with zipfile.ZipFile(tmp_path / "ml-1m.zip", "w") as out:
        out.writestr("ml-1m/movies.dat", "73::Mis\u00e9rables, Les (1995)::Drama\n".encode("latin-1"))
        out.writestr("ml-1m/ratings.dat", "".join(f"{u + 1}::{i + 1}::{r:g}::978300760\n" for u, i, r in zip(rows, cols, vals)))
    point = MovieLens("1m", path=str(tmp_path / "ml-1m.zip"))
    point.prepare(lambda share, words: None)
    found = {arm: attempt(claims.real_data, arm, point)["rmse"] for arm in ("chosen by size", "row and column means")}
    assert found["chosen by size"] < found["row and column means"] < vals.std()


@pytest.mark.parametrize("arm", ["KNNImputer", "IterativeImputer"])
def test_imputers_keep_out_of_tables_too_large_for_them(arm: str) -> None:
    large = [p for scale in claims.real_data.scales for p in claims.real_data.points(scale) if not claims.is_table(p.label)]
    assert claims.MANY in large
    assert attempt(claims.real_data, arm, claims.MANY) == {}


@pytest.mark.parametrize("arm", [
    "sketch of each", "chosen by size", "exact", pytest.param("cmfrec", marks=pytest.mark.needs("cmfrec")),
    pytest.param("surprise", marks=pytest.mark.needs("surprise")), "KNNImputer", "IterativeImputer",
    "row and column means"])
def test_arms_predict_ratings(arm: str) -> None:
    point = claims.MadeRatings(120, 80, 2_500)
    found = attempt(claims.real_data, arm, point)["rmse"]
    truth = point.load(np.random.default_rng(0))[2]
    assert found < truth.std()


def test_means_are_those_of_rows_and_columns() -> None:
    train = np.array([0, 0, 1]), np.array([0, 1, 1]), np.array([1.0, 3.0, 5.0]), (2, 2)
    data = claims.Split(train, np.array([1]), np.array([0]), np.ones(1))
    # mean 3; rows -1 and +2; column 0: 1 - 3 + 1 = -1, column 1: (3 - 3 + 1 + 5 - 3 - 2) / 2 = 0.5
    assert claims.by_means(data, 0)[0] == pytest.approx(3 + 2 - 1)


class Mine(Workload):
    """A workload of a user's own, in whichever form."""

    def __init__(self, form: Any) -> None:
        self.form = form

    def load(self, rng: np.random.Generator) -> Any:
        return self.form


def test_own_data_of_every_form_is_split() -> None:
    dense = np.arange(1.0, 37).reshape(6, 6)
    stored = sp.csr_array(dense)
    text = "".join(f"{i},{j},{dense[i, j]}\n" for i in range(6) for j in range(6)).encode()
    for form in (dense, stored, parse_ratings(text, ",")):
        data = claims.split(Trial(claim="c", seed=0, point=Mine(form), scale="smoke", arm=claims.real_data.arms["exact"]))
        assert len(data.vals) + len(data.train[2]) == 36
        np.testing.assert_array_equal(data.vals, dense[data.rows, data.cols])


def test_solvers_of_the_arms_are_those_of_their_names() -> None:
    arms = claims.same_recovery.arms
    assert [arms[a].build() for a in ("sketch of each", "shared basis", "exact")] == [How("sketch"), How("cg_orth"), How("cholesky")]
