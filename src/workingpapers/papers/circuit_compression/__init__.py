"""Lossless compression with probabilistic circuits.

For many small records that resemble each other: a circuit of sums and products, learned from samples, gives the exact chance of
the next value from the ones before, and an entropy coder spends almost exactly the bits that those chances allow.

>>> import numpy as np
>>> from workingpapers.papers.circuit_compression import HCLT, Codec
>>> rng = np.random.default_rng(0)
>>> images = (rng.integers(0, 2, size=(400, 1, 1)) * 12 + rng.integers(0, 4, size=(400, 6, 6))).astype(np.uint8)
>>> model = HCLT(n_latents=4, random_state=0).fit(images[:300], epochs=5)
>>> codec = Codec(model.quantise())
>>> data = codec.compress(images[300:])
>>> bool((codec.decompress(data) == images[300:]).all()), len(data) < images[300:].nbytes / 3
(True, True)

What is where:

- `HCLT`: the model, a density estimator as in scikit-learn: `fit`, `score_samples`, `bpd`, `marginal`, `conditional`, `impute`,
  `sample`, `quantise`.
- `Circuit`, `Vtree`: any structured-decomposable circuit, and all its conditionals in one sweep.
- `CodecModel`: its integer tables. `Codec`: records to bytes and back; `Archive`: a file as a sequence of records.
- `TabularCodec`, `read_table`: data frames through the same codec. `ConditionalPC`: a circuit for each class or context.
- `CorruptStream`, `ModelMismatch`: what reading can raise.

On the command line: `python -m workingpapers.papers.circuit_compression --help`.
"""

from ._archive import Archive
from ._circuit import Circuit, Conditionals
from ._codec import Codec
from ._columns import Column
from ._conditional import ConditionalPC
from ._errors import CorruptStream, ModelMismatch
from ._hclt import HCLT
from ._model import CodecModel
from ._tabular import TabularCodec, read_table
from ._vtree import Vtree

__all__ = ["HCLT", "Archive", "Circuit", "Codec", "CodecModel", "Column", "ConditionalPC", "Conditionals", "CorruptStream", "ModelMismatch",
           "TabularCodec", "Vtree", "read_table"]
