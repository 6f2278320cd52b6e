"""Streams in groups: the published tables, memberships, the generator."""

from __future__ import annotations

import importlib
import os
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest

from workingpapers.claims import Untested
from workingpapers.workloads import adult, medical_cost
from workingpapers.workloads.archives import Unavailable, WrongContents
from workingpapers.workloads.grouped import AllOf, Between, Equals, GroupedStream, encoded, intersections, make_groups, membership
from workingpapers.workloads.synthetic_groups import SyntheticGroups

if os.environ.get("WORKINGPAPERS_REQUIRE_ALL") != "1":
    pytest.importorskip("pandas", reason="needs the extra tabular")
pd: Any = importlib.import_module("pandas")


def out_of_reach(error: Exception) -> NoReturn:
    if os.environ.get("WORKINGPAPERS_REQUIRE_ALL") == "1":
        pytest.fail(f"required here, but {error}")
    pytest.skip(str(error))


def people() -> Any:
    return pd.DataFrame({"age": [20, 35, 36, 50, 51, 70], "smoker": ["yes", "no", "yes", "no", "no", "yes"]})


def test_medical_costs_are_the_published_ones() -> None:
    try:
        df = medical_cost.load_medical_cost()
    except Unavailable as error:
        out_of_reach(error)
    assert len(df) == 1_338
    assert df["charges"].min() == 1_121.8739
    assert df["charges"].max() == 63_770.42801
    stream = medical_cost.medical_stream(df)
    assert stream.X.shape == (1_338, 18)
    sizes = dict(zip(stream.groups, stream.A.sum(axis=0).astype(int).tolist()))
    assert sizes == {"young": 574, "middle": 408, "old": 356, "underweight": 20, "healthy weight": 225, "overweight": 386, "obese": 707,
                     "smoker": 274, "non-smoker": 1064, "male": 676, "female": 662, "always_on": 1338}
    assert stream.y.min() == 0.0
    assert stream.y.max() == 1.0
    # A single learner sees every group: each membership is a column of X.
    columns = {tuple(c) for c in stream.X.T}
    assert all(tuple(a) in columns for a in stream.A.T[:-1])


def test_the_census_is_the_published_one() -> None:
    try:
        df = adult.load_adult()
    except Unavailable as error:
        out_of_reach(error)
    stream = adult.adult_stream(df)
    assert stream.X.shape == (48_842, 96)
    assert df["income"].sum() == 11_687  # as UCI counts incomes above 50,000
    sizes = dict(zip(stream.groups, stream.A.sum(axis=0).astype(int).tolist()))
    assert (sizes["male"], sizes["female"], sizes["White"], sizes["Other"]) == (32_650, 16_192, 41_762, 406)
    assert len(stream.groups) == 13


def test_changed_rows_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(medical_cost, "SHA256", "0" * 64)
    try:
        with pytest.raises(WrongContents, match="SHA-256"):
            medical_cost.load_medical_cost()
    except Unavailable as error:
        out_of_reach(error)


def test_a_machine_without_the_data_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("WORKINGPAPERS_CACHE", str(tmp_path))
    monkeypatch.setenv("WORKINGPAPERS_OFFLINE", "1")
    for point in (medical_cost.MedicalCosts(), adult.Adult(), adult.Adult("income")):
        with pytest.raises(Untested, match="not here"):
            point.prepare(lambda share, words: None)
    with pytest.raises(Unavailable, match="WORKINGPAPERS_ADULT"):
        adult.load_adult("income")
    with pytest.raises(ValueError, match="target"):
        adult.load_adult("salary")  # type: ignore[arg-type]


def test_dollar_incomes_come_from_the_users_file(tmp_path: Path) -> None:
    rows = 40
    rng = np.random.default_rng(0)
    df = pd.DataFrame({c: rng.integers(0, 90, rows) for c in adult.NUMERIC} | {c: ["x", "y"] * (rows // 2) for c in adult.CATEGORICAL}
                      | {"income": rng.integers(0, 99_999, rows)})
    path = tmp_path / "adult_reconstruction.csv"
    df.to_csv(path, index=False)
    stream = adult.adult_stream(adult.load_adult("income", path))
    np.testing.assert_allclose(stream.y, (df["income"] - df["income"].min()) / (df["income"].max() - df["income"].min()))
    df.drop(columns="race").to_csv(path, index=False)
    with pytest.raises(WrongContents, match="'race'"):
        adult.load_adult("income", path)


def test_shuffles_are_those_of_pandas() -> None:
    stream = SyntheticGroups(samples=50).load(np.random.default_rng(0))
    for seed, number in ((0, 473), (9, 205), (12, 1_012)):
        order = pd.Series(np.arange(50)).sample(frac=1, random_state=number).to_numpy()
        np.testing.assert_array_equal(stream.shuffled(seed).y, stream.y[order])


def test_predicates_agree_with_tables_and_single_rows() -> None:
    df = people()
    for predicate, wanted in ((Between("age", 35, 50, closed=True), [0, 0, 1, 1, 0, 0]), (Between("age", 35, 50), [0, 1, 1, 0, 0, 0]),
                              (Equals("smoker", "yes"), [1, 0, 1, 0, 0, 1]),
                              (AllOf((Between("age", high=50), Equals("smoker", "yes"))), [1, 0, 1, 0, 0, 0]),
                              (lambda x: x["age"] > 50, [0, 0, 0, 0, 1, 1])):
        assert membership(predicate, df).astype(int).tolist() == wanted
        assert [int(predicate(x)) for x in df.to_dict("records")] == wanted
    assert not Between("age", 5)({})


def test_intersections_have_enough_members() -> None:
    df = people()
    spec = {"young": Between("age", high=36), "old": Between("age", 50), "smoker": Equals("smoker", "yes")}
    groups = make_groups(df, spec, order=3, min_support=1)
    assert list(groups) == ["young", "old", "smoker", "young & smoker", "old & smoker"]
    assert groups["old & smoker"].tolist() == [0, 0, 0, 0, 0, 1]
    assert list(make_groups(df, spec, order=2, min_support=2)) == ["young", "old", "smoker"]
    predicates = intersections(df, spec)
    np.testing.assert_array_equal(make_groups(df, predicates).to_numpy(), make_groups(df, spec, order=2).to_numpy())
    for wrong, words in (({"spec": {}}, "spec is empty"), ({"spec": spec, "order": 0}, "order is 0")):
        with pytest.raises(ValueError, match=words):
            make_groups(df, **wrong)  # type: ignore[arg-type]


def test_encoding_drops_no_level_and_scales() -> None:
    df = people().assign(y=[1.0, 2.0, 3.0, 4.0, 5.0, 5.0])
    stream = encoded(df, ["age"], ["smoker"], "y", make_groups(df, {"young": Between("age", high=36)}), ["young"], "people")
    assert stream.features == ("age", "smoker_no", "smoker_yes", "young")
    assert (stream.X[:, 1] + stream.X[:, 2] == 1).all()
    np.testing.assert_allclose(stream.y, [0, 0.25, 0.5, 0.75, 1, 1])
    np.testing.assert_allclose(stream.X[:, 0], (df["age"] - 20) / 50)
    assert stream.dicts()[0] == {"age": 0.0, "smoker_no": 0.0, "smoker_yes": 1.0, "young": 1.0}
    assert len(stream.take(np.array([0, 2]))) == 2


@pytest.mark.parametrize("rule", ["mean", "min", "max", "permutation"])
def test_made_labels_follow_their_rule(rule: Any) -> None:
    """Without noise the labels are a function of features and groups; each pair of groups has one linear model, or a mean of two."""
    point = SyntheticGroups(rule, samples=3_000, dim=3, noise=0.0)
    stream = point.load(np.random.default_rng(5))
    rng = np.random.default_rng(5)  # the draws in the order that the generator tells of
    features = rng.random((3_000, 3))
    shape, colour = rng.choice(3, 3_000, p=point.shapes), 3 + rng.choice(2, 3_000, p=point.colours)
    labels = features @ rng.random((3, 5))
    rng.standard_normal((3_000, 5))
    order = rng.permutation(5).tolist()
    wanted = []
    for i, (s, c) in enumerate(zip(shape.tolist(), colour.tolist())):
        pair = [labels[i, s], labels[i, c]]
        first = min((s, c), key=order.index)
        wanted.append({"mean": sum(pair) / 2, "min": min(pair), "max": max(pair), "permutation": labels[i, first]}[rule])
    low, high = min(wanted), max(wanted)
    np.testing.assert_allclose(stream.y, (np.array(wanted) - low) / (high - low), atol=1e-12)
    assert isinstance(stream, GroupedStream)
    np.testing.assert_array_equal(stream.X[:, 3:], stream.A[:, :5])
    np.testing.assert_array_equal(stream.A.sum(axis=1), 3)
    np.testing.assert_allclose(stream.A.mean(axis=0), [0.5, 0.3, 0.2, 0.6, 0.4, 1.0], atol=0.04)


@pytest.mark.parametrize("wrong", [{"rule": "median"}, {"samples": 0}, {"shapes": (0.5, 0.5)}, {"colours": (0.9, 0.3)}])
def test_bad_generators_are_named(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        SyntheticGroups(**wrong)
