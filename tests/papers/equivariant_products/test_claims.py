"""The claims' own parts: what they compare and count."""

from __future__ import annotations

from tests.conftest import require

require("e3nn")
require("ase")

from workingpapers.papers.equivariant_products import claims  # noqa: E402


def test_ranks_off_the_table_are_seen():
    assert claims.off(9, claims.GAUNT, 2, 1) == 0
    assert claims.off(19, claims.CLASSICAL, 2, 1) == 0
    assert claims.off(14, claims.EVEN, 2, 1) == 0
    assert claims.off(13, claims.COUNTED[2], 2, 2) == 1
    assert claims.off(24, claims.COUNTED[4], 6, 4) == 1  # below one channel's 25
    assert claims.off(141, claims.COUNTED[16], 6, 16) == 1  # above all even paths
    assert claims.off(140, claims.COUNTED[16], 6, 16) == 0


def test_a_pair_turns_round_only_with_room_on_both_sides():
    fast, slow = {"seconds": 1.0, "seconds_per_path": 1.0}, {"seconds": 2.0, "seconds_per_path": 0.5}
    near = {"seconds": 1.05, "seconds_per_path": 0.5}
    assert claims._turned(fast, slow)
    assert not claims._turned(slow, fast)
    assert not claims._turned(fast, near)


def test_expressivity_holds_on_other_degrees_of_ones_own():
    results = claims.expressivity_claim.try_all("smoke", seeds=3, points=[claims.Degree(4)])
    assert claims.expressivity_claim.decide(results).verdict == "holds"
