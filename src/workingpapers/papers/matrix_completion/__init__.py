"""Matrix completion by alternating minimisation with approximate updates: fills tables and ratings of low rank.

For recommender systems, sensor and assay tables, and anyone with many entries and a large rank. The two factors are solved for in turn;
each small regression is solved only as accurately as the next step can use.

**A table with gaps**, as an imputer of scikit-learn:

>>> import numpy as np
>>> from workingpapers.papers.matrix_completion import RobustALSCompleter, simulate
>>> made = simulate(200, 100, 4, 8_000, rng=0)
>>> X = np.full(made.shape, np.nan)
>>> X[made.rows, made.cols] = made.vals
>>> filled = RobustALSCompleter(rank=4, tol=1e-9, max_iter=200, random_state=0).fit_transform(X)
>>> bool(np.abs(filled - made.U @ made.V.T).max() < 1e-6)
True

**Sparse ratings**: `fit` takes scipy's sparse matrices (what is stored is observed, zeros too) and `(rows, cols, vals, shape)`; `predict`
gives entries, `partial_rows` folds in new rows, `partial_columns` appends new columns, `row_posterior` tells how sure a row's factor is,
`predict(..., return_std=True)` how sure a value is, of rows fitted and of new ones.

**Wild values**: `loss="huber"`, in the fit, for new rows and columns, and in the estimate of noise.

**Ratings as a table of pairs**, for scikit-learn's splitters and searches: `RatingsRegressor`. **Which rank**: `rank_curve`.

**One tall least-squares problem**, of any condition:

>>> from workingpapers.papers.matrix_completion import sketched_lstsq
>>> A = np.random.default_rng(0).normal(size=(5_000, 20)) * np.geomspace(1, 1e6, 20)
>>> bool(np.allclose(sketched_lstsq(A, A @ np.ones(20), random_state=0).x, 1))
True

What to expect: on a CPU exact updates are as fast up to ranks of about 15; approximate ones above, by a factor that grows with the rank.
`solver="auto"` chooses. The sketch of every problem pays in operations where problems have many more entries than 8 k and see rows of the
other factor that are far from random ones. Without `reg`, rows with fewer entries than the rank are underdetermined: on ratings, set it.
On made ratings with 6 % seen it predicts better than imputers of tables, in a fiftieth of their time or less. On digits, 64 columns half
seen, scikit-learn's KNNImputer and IterativeImputer with a strong ridge predict better, in one to five times the time.
"""

from ._alternate import Sweep, incoherence, subspace_distance
from ._completer import RobustALSCompleter
from ._lstsq import LstsqResult, sketched_lstsq
from ._ranks import RankCurve, rank_curve
from ._ratings import RatingsRegressor
from ._simulate import LowRank, simulate, simulate_ratings

__all__ = ["LowRank", "LstsqResult", "RankCurve", "RatingsRegressor", "RobustALSCompleter", "Sweep", "incoherence", "rank_curve",
           "simulate", "simulate_ratings", "sketched_lstsq", "subspace_distance"]
