"""The hidden tree: probabilities by enumeration, learning, structure, the estimator's interface."""

from __future__ import annotations

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.metrics import mutual_info_score

from workingpapers.papers.circuit_compression import HCLT, CorruptStream
from workingpapers.papers.circuit_compression._learn import Learner
from workingpapers.papers.circuit_compression._structure import chow_liu_tree, mutual_information, preorder


def fitted(d: int = 4, k: int = 3, n: int = 300, seed: int = 0, **options: object) -> tuple[HCLT, np.ndarray]:
    rng = np.random.default_rng(seed)
    base = rng.integers(0, k, size=(n, 1))
    x = np.where(rng.random((n, d)) < 0.7, base, rng.integers(0, k, size=(n, d)))
    return HCLT(n_latents=3, n_categories=k, random_state=seed, **options).fit(x, epochs=3), x


# ---------------------------------------------------------------- probabilities


@pytest.mark.slow
@pytest.mark.parametrize(("d", "m", "sizes", "roots"),
                         [(1, 1, [3], 1), (3, 2, [2, 3, 2], 1), (5, 3, [2, 2, 3, 2, 2], 2), (6, 2, [2] * 6, 6)])
def test_likelihood_is_the_sum_over_all_latent_states(oracles, d, m, sizes, roots):
    tree = oracles.random_tree_model(np.random.default_rng(d), d, m, sizes, roots)
    rows = oracles.all_rows(sizes)
    found = np.exp(tree.log_likelihood(rows.astype(np.int32)))
    np.testing.assert_allclose(found, oracles.enumerated(tree, rows), rtol=1e-12)
    assert found.sum() == pytest.approx(1.0, abs=1e-12)


@pytest.mark.slow
@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_marginals_sum_over_what_is_missing(seed):
    rng = np.random.default_rng(seed)
    model, _ = _tiny()
    rows = _rows([3] * 4)
    p = np.exp2(model.score_samples(rows))
    x, mask = rows[rng.integers(len(rows))], rng.random(4) < 0.5
    agree = (rows[:, mask] == x[mask]).all(axis=1)
    assert np.exp2(model.marginal(x[None], mask[None]))[0] == pytest.approx(p[agree].sum(), rel=1e-4)
    i = int(rng.integers(4))
    others = np.arange(4) != i
    same = (rows[:, others] == x[others]).all(axis=1)
    np.testing.assert_allclose(model.conditional(x, i), p[same] / p[same].sum(), rtol=1e-4)


_kept: list = []


def _tiny() -> tuple[HCLT, np.ndarray]:
    if not _kept:
        _kept.append(fitted())
    return _kept[0]


def _rows(sizes: list[int]) -> np.ndarray:
    return np.stack(np.meshgrid(*[np.arange(k) for k in sizes], indexing="ij"), axis=-1).reshape(-1, len(sizes))


def test_imputation_is_the_likeliest_value():
    model, x = _tiny()
    mask = np.ones(x[:20].shape, dtype=bool)
    mask[:, 2] = False
    found = model.impute(x[:20], mask)
    assert (found[:, [0, 1, 3]] == x[:20][:, [0, 1, 3]]).all()
    assert found[:, 2].tolist() == [int(model.conditional(row, 2).argmax()) for row in x[:20]]


@pytest.mark.slow
def test_samples_follow_the_model():
    model, _ = _tiny()
    drawn = model.sample(40_000, random_state=1)
    rows = _rows([3] * 4)
    index = (drawn * 3 ** np.arange(3, -1, -1)).sum(axis=1)
    share = np.bincount(index, minlength=81) / len(drawn)
    p = np.exp2(model.score_samples(rows))
    assert np.abs(share - p).max() < 5 * np.sqrt(0.25 / len(drawn))
    assert model.sample(0).shape == (0, 4)


# ---------------------------------------------------------------- learning


@pytest.mark.slow
@pytest.mark.parametrize("n_trees", [1, 2])
def test_em_never_lowers_the_likelihood_without_a_prior(n_trees):
    rng = np.random.default_rng(3)
    x = (rng.integers(0, 4, size=(200, 1)) + rng.integers(0, 2, size=(200, 7))).astype(np.int32)
    learner = Learner.begin(x, np.full(7, 5), n_latents=4, n_trees=n_trees, mi_bins=4, binning="width", structure="chow-liu", smoothing=0.0,
                            n_jobs=1, rng=rng)
    learner.trees = [t.with_tables(t.transition.astype(np.float64), t.leaf.astype(np.float64)) for t in learner.trees]
    found = [learner.full_epoch(x) for _ in range(40)]
    assert (np.diff(found) > -1e-10).all()
    assert found[-1] > found[0] + 0.1


def test_em_with_a_prior_never_lowers_likelihood_times_prior():
    rng = np.random.default_rng(4)
    x = (rng.integers(0, 4, size=(150, 1)) + rng.integers(0, 2, size=(150, 5))).astype(np.int32)
    learner = Learner.begin(x, np.full(5, 5), n_latents=3, n_trees=1, mi_bins=4, binning="width", structure="chow-liu", smoothing=0.2,
                            n_jobs=1, rng=rng)
    learner.trees = [t.with_tables(t.transition.astype(np.float64), t.leaf.astype(np.float64)) for t in learner.trees]

    def objective() -> float:
        tree = learner.trees[0]
        is_root = tree.parents < 0
        edges = np.log(tree.transition[~is_root]).sum() + np.log(tree.transition[is_root][:, 0]).sum()
        return float(learner.log_likelihood(x).sum() + (learner.prior[:, None] * np.log(tree.leaf)).sum() + learner.edge_prior * edges)

    found = []
    for _ in range(30):
        found.append(objective())
        learner.full_epoch(x)
    assert (np.diff(found) > -1e-7).all()


@pytest.mark.slow
def test_expected_counts_are_the_gradient(oracles):
    rng = np.random.default_rng(0)
    sizes = [2, 3, 2, 2]
    tree = oracles.random_tree_model(rng, 4, 2, sizes)
    x = rng.integers(0, 2, size=(9, 4)).astype(np.int32)
    counts = tree.expected_counts(x)
    step = 1e-6
    for row, z in [(0, 0), (3, 1), (6, 0)]:
        bumped = tree.leaf.copy()
        bumped[row, z] *= 1 + step
        change = (tree.with_tables(tree.transition, bumped).log_likelihood(x) - tree.log_likelihood(x)).sum() / step
        assert counts.leaf[row, z] == pytest.approx(change, abs=1e-4)
    v = int(np.flatnonzero(tree.parents >= 0)[0])
    bumped = tree.transition.copy()
    bumped[v, 1, 0] *= 1 + step
    change = (tree.with_tables(bumped, tree.leaf).log_likelihood(x) - tree.log_likelihood(x)).sum() / step
    assert counts.edge[v, 1, 0] == pytest.approx(change, abs=1e-4)


def test_weights_of_rows_count_as_repeats(oracles):
    rng = np.random.default_rng(1)
    tree = oracles.random_tree_model(rng, 5, 3, [2] * 5, 2)
    x = rng.integers(0, 2, size=(3, 5)).astype(np.int32)
    once = tree.expected_counts(x, np.array([2.0, 0.0, 1.0]))
    repeated = tree.expected_counts(x[[0, 0, 2]])
    np.testing.assert_allclose(once.leaf, repeated.leaf, atol=1e-12)
    np.testing.assert_allclose(once.edge, repeated.edge, atol=1e-12)


def test_threads_change_nothing_that_matters():
    _, x = _tiny()
    a = HCLT(3, 3, random_state=0, n_jobs=1).fit(x)
    b = HCLT(3, 3, random_state=0, n_jobs=2).fit(x)
    np.testing.assert_allclose(a.score_samples(x), b.score_samples(x), atol=1e-3)


@pytest.mark.slow
def test_a_thousand_children_do_not_underflow(oracles):
    d = 1_200
    parents = np.r_[-1, np.zeros(d - 1, dtype=int)]
    rng = np.random.default_rng(0)
    edge = rng.dirichlet([0.2, 0.2], size=(d, 2))
    edge[0] = edge[0][:1]
    leaf = np.concatenate([rng.dirichlet([0.1, 0.1], size=2).T for _ in range(d)])
    from workingpapers.papers.circuit_compression._tree import HiddenTree

    x = rng.integers(0, 2, size=(4, d)).astype(np.int32)
    single = HiddenTree.make(parents, np.full(d, 2), edge.astype(np.float32), leaf.astype(np.float32))
    double = HiddenTree.make(parents, np.full(d, 2), edge, leaf)
    below = [sum(np.log(leaf[2 * v + x[:, v]] @ edge[v, z]) for v in range(1, d)) for z in (0, 1)]
    per_state = [np.log(edge[0, 0, z]) + np.log(leaf[x[:, 0], z]) + below[z] for z in (0, 1)]
    np.testing.assert_allclose(double.log_likelihood(x), np.logaddexp(*per_state), rtol=1e-12)
    np.testing.assert_allclose(single.log_likelihood(x), np.logaddexp(*per_state), rtol=1e-5)


def test_learning_finds_what_made_the_data(oracles):
    truth = oracles.random_tree_model(np.random.default_rng(5), 6, 2, [4] * 6)
    rng = np.random.default_rng(6)
    train, test = truth.sample(4_000, rng), truth.sample(2_000, rng)
    model = HCLT(n_latents=4, n_categories=4, random_state=0).fit(train, epochs=15)
    ideal = -truth.log_likelihood(test.astype(np.int32)).mean() / np.log(2) / 6
    assert ideal - 1e-9 < model.bpd(test) < ideal + 0.02


def test_validation_keeps_the_best_epoch():
    _, x = _tiny()
    model = HCLT(6, 3, random_state=0, smoothing=0.0).fit(x[:40], X_val=x[100:], epochs=15, full_epochs=15)
    assert model.bpd(x[100:]) == pytest.approx(min(model.history_), abs=1e-4)
    assert min(model.history_) < model.history_[-1] - 1e-3


# ---------------------------------------------------------------- structure


def grey_rows(n: int, seed: int) -> np.ndarray:
    """Two kinds of rows of six grey values around 60 and 180, and a background value that is often there."""
    rng = np.random.default_rng(seed)
    x = np.clip(60 + 120 * rng.integers(0, 2, size=(n, 1)) + rng.normal(0, 12, size=(n, 6)), 1, 255).round().astype(int)
    x[rng.random(x.shape) < 0.3] = 0
    return x


def test_near_values_help_where_values_have_an_order_and_rows_are_few():
    few, others = grey_rows(150, 0), grey_rows(2_000, 1)
    plain, near = (HCLT(2, 256, smoothing=0.01, random_state=0, near_values=w).fit(few, epochs=4) for w in (0.0, 50.0))
    assert near.bpd(others) < plain.bpd(others) - 0.1
    leaf = near.trees_[0].leaf.reshape(6, 256, 2)
    np.testing.assert_allclose(leaf.sum(axis=1), 1, rtol=1e-5)
    assert leaf.min() > 0
    background = plain.trees_[0].leaf.reshape(6, 256, 2)[:, 0].max(axis=1)
    np.testing.assert_allclose(leaf[:, 0].max(axis=1), background, rtol=0.02)  # a spike keeps its mass


def test_near_values_leave_tables_that_have_seen_enough_alone():
    x = grey_rows(300, 0)
    plain, near = (HCLT(2, 256, smoothing=0.1, random_state=0, near_values=w).fit(x, X_val=x, epochs=2) for w in (0.0, 1e-9))
    np.testing.assert_allclose(near.trees_[0].leaf, plain.trees_[0].leaf, atol=1e-7)
    two = [HCLT(2, 2, random_state=0, near_values=w).fit(x > 100, epochs=2).trees_[0].leaf for w in (0.0, 100.0)]
    np.testing.assert_array_equal(*two)  # two values have no neighbours


@pytest.mark.slow
def test_marginals_of_latents_are_those_of_samples(oracles):
    tree = oracles.random_tree_model(np.random.default_rng(3), 5, 3, [2, 2, 3, 2, 2], 2)
    nothing = np.full((1, 5), -1, dtype=np.int32)
    np.testing.assert_allclose(tree.marginals(), tree.posteriors(nothing)[0], atol=1e-6)


def test_mutual_information_is_that_of_scikit_learn():
    rng = np.random.default_rng(0)
    x = rng.integers(0, 16, size=(500, 1)) // rng.integers(1, 4, size=(500, 6))
    found = mutual_information(x, np.full(6, 16), bins=4)
    for i in range(6):
        for j in range(i):
            assert found[i, j] == pytest.approx(mutual_info_score(x[:, i] // 4, x[:, j] // 4), abs=1e-6)
    assert mutual_information(x, np.full(6, 16), 4, "top")[0, 1] == pytest.approx(
        mutual_info_score(np.minimum(x[:, 0], 3), np.minimum(x[:, 1], 3)), abs=1e-6)


@settings(max_examples=25, deadline=None)
@given(d=st.integers(2, 14), seed=st.integers(0, 999))
def test_tree_is_a_maximum_spanning_tree_rooted_at_its_centre(d, seed):
    weight = np.random.default_rng(seed).random((d, d))
    weight = weight + weight.T
    np.fill_diagonal(weight, 0)
    parents = chow_liu_tree(weight)
    assert (parents < 0).sum() == 1
    ours = nx.Graph([(v, int(p)) for v, p in enumerate(parents) if p >= 0])
    best = nx.maximum_spanning_tree(nx.from_numpy_array(weight))
    assert {frozenset(e) for e in ours.edges} == {frozenset(e) for e in best.edges}
    assert int(np.flatnonzero(parents < 0)[0]) in nx.center(best)


def test_constant_columns_stand_alone():
    rng = np.random.default_rng(0)
    x = np.repeat(rng.integers(0, 2, size=(300, 1)), 5, axis=1)
    x[:, 2] = 1
    model = HCLT(2, 2, random_state=0).fit(x)
    assert model.tree_[2] == -1
    assert 2 not in model.tree_
    assert (model.tree_ == -1).sum() == 2


@settings(max_examples=30, deadline=None)
@given(d=st.integers(1, 30), roots=st.integers(1, 3), seed=st.integers(0, 99))
def test_order_of_visit_keeps_subtrees_together(d, roots, seed):
    rng = np.random.default_rng(seed)
    parents = np.array([-1 if i < roots else int(rng.integers(i)) for i in range(d)])
    order = preorder(parents)
    place = np.argsort(order)
    assert sorted(order.tolist()) == list(range(d))
    for v in range(d):
        below = [u for u in range(d) if u == v or v in _above(parents, u)]
        assert sorted(place[below].tolist()) == list(range(place[v], place[v] + len(below)))


def _above(parents: np.ndarray, u: int) -> set[int]:
    out = set()
    while parents[u] >= 0:
        u = int(parents[u])
        out.add(u)
    return out


def test_cycles_are_refused():
    with pytest.raises(ValueError, match="cycle"):
        preorder(np.array([1, 0, -1]))


# ---------------------------------------------------------------- interface


def test_it_is_a_scikit_learn_estimator():
    model = HCLT(n_latents=5, smoothing=0.3)
    assert clone(model).get_params() == model.get_params()
    with pytest.raises(NotFittedError):
        model.score_samples(np.zeros((1, 2), int))


@pytest.mark.parametrize(
    ("x", "words"),
    [
        (np.zeros((0, 3), int), "at least one row"),
        (np.zeros((3, 0), int), "at least one row"),
        (np.zeros(3, int), "shape"),
        (np.full((2, 2), np.nan), "integers"),
        (np.zeros((2, 2)), "integers"),
        (np.full((2, 2), 70_000), "65535"),
        (np.array([["a"]]), "integers"),
    ],
)
def test_bad_data_is_refused(x, words):
    with pytest.raises(ValueError, match=words):
        HCLT(2).fit(x)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"n_latents": 0}, "n_latents"),
        ({"n_latents": 2.0}, "n_latents"),
        ({"n_categories": 2}, "takes 0 to 1"),
        ({"n_categories": [3, 3]}, "n_categories"),
        ({"n_categories": "many"}, "n_categories"),
        ({"smoothing": -1}, "smoothing"),
        ({"smoothing": float("nan")}, "smoothing"),
        ({"n_trees": 0}, "n_trees"),
        ({"binning": "odd"}, "binning"),
        ({"structure": "star"}, "structure"),
        ({"structure": np.array([1, 0, -1])}, "cycle"),
        ({"structure": np.array([-1])}, "structure"),
    ],
)
def test_bad_parameters_are_refused(options, words):
    with pytest.raises(ValueError, match=words):
        HCLT(**{"n_latents": 2, **options}).fit(np.array([[0, 1, 2], [2, 1, 0], [1, 1, 1]]))


def test_wrong_questions_are_refused():
    model, x = _tiny()
    for call, words in [
        (lambda: model.score_samples(x[:, :2]), "fitted on 4"),
        (lambda: model.score_samples(x + 3), "takes 0 to 2"),
        (lambda: model.conditional(x[0], 4), "i must be"),
        (lambda: model.marginal(x, np.ones((1, 4), bool)), "mask"),
        (lambda: model.sample(-1), "negative"),
        (lambda: model.quantise(bits=8), "bits"),
        (lambda: model.fit(x, epochs=0, full_epochs=0), "epochs"),
        (lambda: model.fit(x, step=(0.1, 0.5)), "step"),
    ]:
        with pytest.raises(ValueError, match=words):
            call()


def test_data_is_left_alone_and_seeds_repeat():
    _, x = _tiny()
    before = x.copy()
    a, b = (HCLT(3, 3, random_state=7).fit(x) for _ in range(2))
    assert (x == before).all()
    assert a.quantise().sha256 == b.quantise().sha256
    assert a.quantise().sha256 != HCLT(3, 3, random_state=8).fit(x).quantise().sha256


def test_partial_fit_learns_from_batches():
    _, x = _tiny()
    model = HCLT(3, 3, random_state=0)
    for start in [*range(0, 300, 50)] * 4:
        model.partial_fit(x[start : start + 50], step=0.2)
    assert model.bpd(x) < HCLT(3, 3, random_state=0).partial_fit(x).bpd(x) - 0.1
    before = model.n_categories_.copy()
    with pytest.raises(ValueError, match="takes 0 to 2"):
        model.partial_fit(x + 1)
    assert (model.n_categories_ == before).all()


def test_a_mixture_is_a_distribution_and_beats_one_tree_where_two_made_the_data():
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 3, size=(600, 1)), rng.integers(0, 3, size=(600, 1))
    one = np.hstack([a, a, b, b])
    two = 2 - np.hstack([a, b, a, b])
    x = np.concatenate([one, two])
    single = HCLT(3, 3, random_state=0).fit(x, epochs=10)
    mixed = HCLT(3, 3, n_trees=2, random_state=0).fit(x, epochs=10)
    assert np.exp2(mixed.score_samples(_rows([3] * 4))).sum() == pytest.approx(1, abs=1e-4)
    assert mixed.bpd(x) < single.bpd(x) - 0.02


def test_save_and_load_keep_everything(tmp_path):
    model, x = fitted(n_trees=2)
    model.save(tmp_path / "m.pcm")
    again = HCLT.load(tmp_path / "m.pcm")
    np.testing.assert_allclose(again.score_samples(x), model.score_samples(x), atol=1e-5)
    assert again.quantise().sha256 == model.quantise().sha256
    assert again.n_parameters_ == model.n_parameters_
    again.partial_fit(x)


def test_damaged_model_files_are_named(tmp_path):
    model, _ = _tiny()
    path = tmp_path / "m.pcm"
    model.save(path)
    good = path.read_bytes()
    for bad in (b"", good[:7], good[:-1], good[:100], good + b"x", good[:40] + bytes([good[40] ^ 1]) + good[41:]):
        path.write_bytes(bad)
        with pytest.raises(CorruptStream):
            HCLT.load(path)


@pytest.mark.parametrize("change", [{"n_latents": 1 << 40}, {"n_trees": 999}, {"sizes": [3] * 10**6}, {"sizes": [1 << 30] * 4},
                                    {"sizes": "x"}, {"n_latents": None}, {"sizes": [[3]] * 4}])
def test_forged_model_headers_are_refused_before_memory_is_asked_for(tmp_path, change):
    import hashlib
    import json
    import struct

    model, _ = _tiny()
    path = tmp_path / "m.pcm"
    model.save(path)
    good = path.read_bytes()[:-32]
    n = struct.unpack_from("<I", good, 12)[0]
    header = json.dumps({**json.loads(good[16 : 16 + n]), **change}).encode()
    forged = good[:12] + struct.pack("<I", len(header)) + header + good[16 + n :]
    path.write_bytes(forged + hashlib.sha256(forged).digest())
    with pytest.raises(CorruptStream):
        HCLT.load(path)
