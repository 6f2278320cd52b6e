"""How long products take on this machine, beside what they can express; and which one to take."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

import torch
from torch import Tensor, nn

from workingpapers.claims import side_by_side

from ._base import EquivariantProduct, chosen
from .layers import make_product
from .mini_mace import natural
from .rating import expressivity, odd_share

if TYPE_CHECKING:
    import pandas as pd

Setting = Literal["SISO", "SIMO", "MIMO"]
DEFAULT = ("cgtp", "cgtp_fused", "gaunt_grid", "gaunt_grid_fft", "gaunt_fourier", "gaunt_fourier_fft", "matrix", "vector")


def setting_of(degree: int, setting: Setting, channels: int = 1) -> tuple[str, str, str | None]:
    """Irreps of both inputs and of the output: SISO one degree in and out, SIMO one degree to all, MIMO all to all (None: all reached)."""
    chosen("setting", setting, get_args(Setting))
    one = f"{channels}x{degree}{'eo'[degree % 2]}"
    if setting == "MIMO":
        return natural(degree, channels), natural(degree, channels), None
    return one, one, (f"{channels}x{degree}{'eo'[degree * 2 % 2]}" if setting == "SISO" else None)


def inputs_for(tp: EquivariantProduct, batch: int, seed: int = 0, requires_grad: bool = False) -> tuple[Tensor, Tensor]:
    """Random inputs of a product, float32."""
    generator = torch.Generator().manual_seed(seed)
    x, y = (torch.randn(batch, irreps.dim, generator=generator).requires_grad_(requires_grad) for irreps in (tp.irreps_in1, tp.irreps_in2))
    return x, y


def call_of(tp: nn.Module, x: Tensor, y: Tensor, backward: bool = False) -> Callable[[], object]:
    """One use of a product: forward without gradients, or forward and backward to both inputs."""

    def forward() -> object:
        with torch.no_grad():
            return tp(x, y)

    def both() -> object:
        return torch.autograd.grad(tp(x, y).sum(), (x, y))

    return both if backward else forward


def bench(tps: Sequence[str] | Mapping[str, EquivariantProduct] = DEFAULT, L: Sequence[int] = (1, 2, 3), setting: Setting = "MIMO",
          batch: int = 1000, *, channels: int = 1, backward: bool = False, repeats: int = 7, threads: int = 1) -> pd.DataFrame:
    """Time products in turn in this process.

    Args:
        tps: names in `PRODUCTS`, or products of your own by name (then `L` and `setting` are not looked at).
        L: degrees.
        setting: `SISO`, `SIMO` or `MIMO`, see `setting_of`.
        batch: rows.
        backward: time forward and backward.
        repeats, threads: of the timer.

    Returns:
        A row a product and degree: `product`, `degree`, `time` (median seconds), `low`, `high` (interval of the mean), `paths`
        (expressivity of one channel), `time_per_path`, `flops`, `bytes` of tables, `odd_share`.

    >>> from workingpapers.papers.equivariant_products import bench
    >>> list(bench(["cgtp", "gaunt_grid"], L=[1], batch=10, repeats=3).columns)[:4]
    ['product', 'degree', 'time', 'low']
    """
    import math

    import pandas as pd

    from workingpapers.claims import t_interval

    if batch < 1:
        raise ValueError(f"batch is {batch}: 1 at least")
    cases: list[tuple[int | None, dict[str, EquivariantProduct]]] = []
    if isinstance(tps, Mapping):
        cases.append((None, dict(tps)))
    else:
        for l_max in L:
            in1, in2, out = setting_of(l_max, setting, channels)
            cases.append((l_max, {name: make_product(name, in1, in2, out) for name in tps}))
    rows = []
    for degree, made in cases:
        calls = {name: call_of(tp, *inputs_for(tp, batch, requires_grad=backward), backward=backward) for name, tp in made.items()}
        for name, timing in side_by_side(calls, repeats=repeats, threads=threads).items():
            tp, interval = made[name], t_interval([math.log(s) for s in timing.samples])
            paths = expressivity(tp, channels=1)
            rows.append({"product": name, "degree": degree, "time": timing.median, "low": math.exp(interval.lo),
                         "high": math.exp(interval.hi), "paths": paths, "time_per_path": timing.median / paths, "flops": tp.flops(batch),
                         "bytes": sum(b.numel() * b.element_size() for b in tp.buffers()), "odd_share": odd_share(tp)})
    return pd.DataFrame(rows)


@dataclass(frozen=True)
class Recommendation:
    """A product, why, and the table it was picked from.

    Attributes:
        product: a name in `PRODUCTS`.
        options: to hand to `make_product` beside it.
        why: one sentence.
        table: from `bench`, fastest first.
    """

    product: str
    options: dict[str, Any]
    why: str
    table: pd.DataFrame


def recommend(L: int, batch: int, need_odd: bool = True, *, min_paths: int = 0, backward: bool = True, channels: int = 1,
              repeats: int = 5) -> Recommendation:
    """The fastest product here for degree L and a batch, among those that express enough; measured, not looked up.

    Args:
        L, batch, channels: as they will be used.
        need_odd: whether odd paths (cross products, chirality) are needed.
        min_paths: least expressivity of one channel.
        backward: rate forward and backward together, as in training.

    Raises:
        ValueError: no product expresses as much.

    >>> from workingpapers.papers.equivariant_products import recommend
    >>> recommend(1, 100, need_odd=True, repeats=3).product in ("cgtp", "cgtp_fused", "matrix", "vector", "mixed")
    True
    """
    if L < 1:
        raise ValueError(f"L is {L}: 1 at least")
    table = bench([*DEFAULT, "mixed"], [L], "MIMO", batch, channels=channels, backward=backward, repeats=repeats)
    table = table.sort_values("time", ignore_index=True)
    fit = table[(table["paths"] >= min_paths) & ((table["odd_share"] > 0) | (not need_odd))]
    if fit.empty:
        raise ValueError(f"min_paths is {min_paths}: at degree {L} no product has more than {int(table['paths'].max())} in one channel")
    best, fastest = fit.iloc[0], table.iloc[0]
    why = (f"{best['product']} took {1e3 * best['time']:.3g} ms for {batch} rows and reaches {int(best['paths'])} free parameters"
           + ("" if best["product"] == fastest["product"] else
              f"; {fastest['product']} took {1e3 * fastest['time']:.3g} ms but expresses too little") + ".")
    return Recommendation(str(best["product"]), {}, why, table)
