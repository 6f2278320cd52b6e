"""Behaviour that users rely on, each checked by something that knows better."""

from __future__ import annotations

import numpy as np
import pytest

from workingpapers.papers._template import median_of_means
from workingpapers.papers._template.claims import robust_mean


def test_one_group_is_the_mean_and_n_groups_the_median() -> None:
    x = np.random.default_rng(0).normal(size=101)
    assert median_of_means(x, groups=1) == pytest.approx(np.mean(x))
    assert median_of_means(x, groups=101) == pytest.approx(np.median(x))


def test_wild_numbers_in_fewer_than_half_the_groups_cannot_move_it_far() -> None:
    x = np.random.default_rng(1).normal(size=1_000)
    x[:400] += 1e9  # eight of twenty groups
    assert abs(median_of_means(x, groups=20)) < 1


@pytest.mark.parametrize(("x", "groups"), [([], 1), ([[1.0]], 1), ([np.nan], 1), ([1.0, 2.0], 0), ([1.0, 2.0], 3)])
def test_bad_input_is_named(x: list[float], groups: int) -> None:
    with pytest.raises(ValueError, match=r"x must|groups must"):
        median_of_means(x, groups=groups)


def test_the_claim_is_decided_from_what_was_measured() -> None:
    decision = robust_mean.decide(robust_mean.try_all("smoke"))
    assert {check.verdict for check in decision.checks} <= {"holds", "fails", "inconclusive"}
    assert decision.verdict == "holds"
