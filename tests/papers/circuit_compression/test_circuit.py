"""Circuits: filter = vtree algorithm = enumeration; counts of units; flows."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workingpapers.papers.circuit_compression import HCLT, Circuit, Vtree
from workingpapers.papers.circuit_compression._circuit import from_tree
from workingpapers.papers.circuit_compression._filter import filtered
from workingpapers.papers.circuit_compression._structure import preorder

VTREES = {"balanced": Vtree.balanced, "chain": Vtree.chain, "two chains": Vtree.two_chains,
          "random": lambda d: Vtree.random(d, np.random.default_rng(d))}


@pytest.mark.slow
@pytest.mark.parametrize("order", ["larger-first", "smaller-first", "left-first"])
@pytest.mark.parametrize("kind", VTREES)
def test_three_algorithms_give_what_enumeration_gives(oracles, kind, order):
    sizes = [2, 3, 2, 2, 3]
    circuit = Circuit.random(VTREES[kind](5), 3, sizes, random_state=1)
    circuit.check()
    rows = oracles.all_rows(sizes)
    p = np.exp(circuit.log_prob(rows))
    assert p.sum() == pytest.approx(1, abs=1e-12)
    x = rows[[0, 17, 40, 71]]
    for algorithm in ("changed-only", "carried-beliefs", "whole-passes"):
        found = circuit.ordered_conditionals(x, order, algorithm)
        for i, row in enumerate(x):
            lower, point = oracles.ordered(rows, p, row, found.order)
            np.testing.assert_allclose(found.lower[i], lower, atol=1e-12)
            np.testing.assert_allclose(found.point[i], point, atol=1e-12)


@pytest.mark.parametrize(("d", "m", "roots"), [(1, 3, 1), (4, 3, 1), (6, 2, 3), (8, 2, 1), (8, 3, 2)])
def test_filter_equals_the_general_algorithm_and_enumeration(oracles, d, m, roots):
    sizes = [2] * (d - 1) + [3]
    tree = oracles.random_tree_model(np.random.default_rng(d + m), d, m, sizes, roots)
    circuit = from_tree(tree.parents, preorder(tree.parents), tree.sizes, tree.transition, tree.leaf)
    circuit.check()
    rows = oracles.all_rows(sizes)
    p = oracles.enumerated(tree, rows)
    np.testing.assert_allclose(np.exp(circuit.log_prob(rows)), p, atol=1e-13)
    x = rows[np.random.default_rng(0).choice(len(rows), min(3, len(rows)), replace=False)]
    general = circuit.ordered_conditionals(x, "left-first", "changed-only")
    lower, point = filtered(tree, x)
    assert general.order.tolist() == tree.order.tolist()
    for i, row in enumerate(x):
        by_hand = oracles.ordered(rows, p, row, tree.order)
        for found in ((lower[i], point[i]), (general.lower[i], general.point[i])):
            np.testing.assert_allclose(found[0], by_hand[0], atol=1e-12)
            np.testing.assert_allclose(found[1], by_hand[1], atol=1e-12)


@pytest.mark.parametrize("d", [2, 8, 64, 256])
def test_touched_units_stay_within_the_logarithmic_bound(d):
    x = np.random.default_rng(0).integers(0, 2, size=(1, d))
    for vtree in (Vtree.balanced(d), Vtree.chain(d)):
        circuit = Circuit.random(vtree, 2, 2, random_state=0)
        bound = (1 + np.log2(d)) * circuit.size
        assert circuit.ordered_conditionals(x).touched[0] <= bound
        assert circuit.ordered_conditionals(x, algorithm="carried-beliefs").touched[0] <= 3 * circuit.size
        if d <= 64:
            assert circuit.ordered_conditionals(x, algorithm="whole-passes").touched[0] == d * circuit.size


def test_touched_units_are_counted_right(oracles):
    """By the definition: for each variable all units that speak of it, up to the node that covers all seen."""
    for make in VTREES.values():
        vtree = make(9)
        circuit = Circuit.random(vtree, 2, 2, random_state=0)
        is_leaf = vtree.variable >= 0
        cost = np.where(is_leaf, np.diff(circuit.units), np.diff(circuit.elements[circuit.units]))
        scope = [set() for _ in vtree.variable]
        for n, v in enumerate(vtree.variable):
            scope[n] = {int(v)} if v >= 0 else scope[vtree.left[n]] | scope[vtree.right[n]]
        seen: set[int] = set()
        expected = 0
        for v in vtree.order("larger-first"):
            seen.add(int(v))
            top = min((s for s in scope if seen <= s), key=len)
            expected += sum(int(c) for s, c in zip(scope, cost) if v in s and s <= top)
        assert circuit.ordered_conditionals(np.zeros((1, 9), int)).touched[0] == expected


def test_two_chains_break_the_bound_of_changed_only_but_not_of_carried_beliefs():
    d = 128
    circuit = Circuit.random(Vtree.two_chains(d), 2, 2, random_state=0)
    x = np.zeros((1, d), int)
    assert circuit.ordered_conditionals(x).touched[0] > (1 + np.log2(d)) * circuit.size
    assert circuit.ordered_conditionals(x, algorithm="carried-beliefs").touched[0] <= 3 * circuit.size


def test_thousands_of_variables_do_not_underflow():
    circuit = Circuit.random(Vtree.balanced(3_000), 2, 4, random_state=0)
    x = np.random.default_rng(0).integers(0, 4, size=(1, 3_000))
    total = circuit.log_prob(x)[0]
    assert total < -2_000
    for algorithm in ("changed-only", "carried-beliefs"):
        found = circuit.ordered_conditionals(x, algorithm=algorithm)
        assert np.log(found.point).sum() == pytest.approx(total, rel=1e-10)


def test_marginals_of_a_circuit(oracles):
    circuit = Circuit.random(Vtree.random(4, np.random.default_rng(2)), 3, 2, random_state=3)
    rows = oracles.all_rows([2] * 4)
    p = np.exp(circuit.log_prob(rows))
    for mask in itertools.product([False, True], repeat=4):
        given_ = np.array(mask)
        x = rows[9]
        expected = p[(rows[:, given_] == x[given_]).all(axis=1)].sum()
        assert np.exp(circuit.log_prob(x[None], given_[None]))[0] == pytest.approx(expected, abs=1e-12)


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 999))
def test_em_on_flows_never_lowers_the_likelihood(seed):
    rng = np.random.default_rng(seed)
    x = rng.integers(0, 3, size=(40, 1)) * rng.integers(0, 2, size=(40, 6))
    circuit = Circuit.random(Vtree.random(6, rng), 3, 3, random_state=seed)
    found = []
    for _ in range(8):
        circuit, loglik = circuit.em_step(x)
        circuit.check()
        found.append(loglik)
    assert (np.diff(found) > -1e-10).all()


@pytest.mark.slow
def test_circuit_of_an_estimator_gives_its_likelihood():
    rng = np.random.default_rng(0)
    x = rng.integers(0, 3, size=(200, 1)) + rng.integers(0, 2, size=(200, 9))
    model = HCLT(3, 4, random_state=0).fit(x)
    circuit = Circuit.from_hclt(model)
    np.testing.assert_allclose(circuit.log_prob(x) / np.log(2), model.score_samples(x), atol=1e-4)
    with pytest.raises(ValueError, match="one tree"):
        Circuit.from_hclt(HCLT(2, 4, n_trees=2, random_state=0).fit(x, epochs=1))


def test_what_is_no_circuit_is_named():
    good = Circuit.random(Vtree.balanced(4), 2, 2, random_state=0)
    swapped = replace(good, left=good.right, right=good.left)
    for bad, words in [
        (swapped, "structured"),
        (replace(good, weight=good.weight * 2), "sum to 1"),
        (replace(good, leaf=good.leaf * 2), "leaf does not sum"),
        (replace(good, root=good.root * 2), "top node"),
        (replace(good, weight=-good.weight), "negative"),
        (replace(good, units=good.units[:-1]), "units"),
        (replace(good, elements=good.elements[::-1]), "elements"),
    ]:
        with pytest.raises(ValueError, match=words):
            bad.check()
    row = np.zeros((1, 4), int)
    for call in (lambda: good.log_prob(row[:, :3]), lambda: good.log_prob(row * 1.0), lambda: good.log_prob(row + 2),
                 lambda: good.ordered_conditionals(row - 1), lambda: good.ordered_conditionals(row, algorithm="x"),
                 lambda: good.ordered_conditionals(row, order="x"), lambda: good.em_step(row[:0]),
                 lambda: Vtree.from_nested((0, (1, 1))), lambda: Vtree.from_nested((0, "a")), lambda: Vtree.balanced(0)):
        with pytest.raises(ValueError):
            call()


@pytest.mark.needs("spflow")
def test_an_spflow_network_keeps_its_distribution(oracles):
    import torch
    from spflow.meta.data import Scope
    from spflow.modules.leaves import Bernoulli, Categorical
    from spflow.modules.products import ElementwiseProduct, OuterProduct, Product
    from spflow.modules.sums import Sum

    torch.manual_seed(0)
    left = Sum(OuterProduct([Categorical(Scope([0]), out_channels=2, K=3), Bernoulli(Scope([1]), out_channels=2)]), out_channels=2)
    right = Sum(ElementwiseProduct([Categorical(Scope([2]), out_channels=3, K=2), Categorical(Scope([3]), out_channels=3, K=2)]),
                out_channels=2)
    mixed = Sum([Product([left, right]), OuterProduct([left, right])], out_channels=1)
    circuit = Circuit.from_spflow(mixed)
    circuit.check()
    rows = oracles.all_rows([3, 2, 2, 2])
    theirs = mixed.log_likelihood(torch.tensor(rows, dtype=torch.float32)).detach().numpy().reshape(-1)
    np.testing.assert_allclose(circuit.log_prob(rows), theirs, atol=1e-5)
    assert np.exp(circuit.log_prob(rows)).sum() == pytest.approx(1, abs=1e-6)
    flat = Product([Categorical(Scope([v]), out_channels=1, K=2) for v in range(4)])
    assert Circuit.from_spflow(Sum(flat, out_channels=1)).log_prob(np.zeros((1, 4), int)).shape == (1,)
    leaves = [Categorical(Scope([v]), out_channels=1, K=2) for v in range(3)]
    one, other = Product([Product(leaves[:2]), leaves[2]]), Product([leaves[0], Product(leaves[1:])])
    two_ways = Sum([one, other], out_channels=1)
    with pytest.raises(ValueError, match="no vtree"):
        Circuit.from_spflow(two_ways)
    with pytest.raises(ValueError, match="features"):
        Circuit.from_spflow(Categorical(Scope([0, 1]), out_channels=1, K=2))
