"""circuit_compression beside its peers: speed and memory, measured in turn in one run on one thread.

    python -m benchmarks.circuit_compression [SECTION ...]      about four minutes for all; MNIST is fetched once

Sections: learning, coding, neural, codecs, coder, memory.


Wall time, and processor time where a busy machine would spoil it. Likelihood and learning are set against SPFlow (the same hidden tree,
built from its sums and products, on torch), coding against bits back through a variational autoencoder, the networks of Bit-Swap at
their published sizes (evaluated only, with random weights), constriction's coder on the same intervals, and standard codecs.
Code of EinsumNetworks: PEER_EINSUM=FOLDER (github.com/cambridge-mlg/EinsumNetworks); without it: not here.
"""

from __future__ import annotations

import argparse
import os
import resource
import time
from collections.abc import Callable
from functools import cache, partial
from typing import Any

import numpy as np
import torch
from threadpoolctl import threadpool_limits
from torch import nn

from workingpapers.papers.circuit_compression import HCLT, Codec, CodecModel
from workingpapers.papers.circuit_compression._bbans import BBANS
from workingpapers.papers.circuit_compression._blocks import intervals
from workingpapers.papers.circuit_compression._kernels import PRECISION, push
from workingpapers.papers.circuit_compression._peers import peers
from workingpapers.workloads.images import digits, mnist

TRAIN, TEST = 4_000, 1_000


def row(what: str, ours: str, theirs: str = "", ratio: str = "", wanted: str = "") -> None:
    print(f"{what:<66} {ours:>16} {theirs:>16} {ratio:>9}  {wanted}", flush=True)


def processor_seconds(call: Callable[[], object], repeats: int = 3) -> float:
    """Least processor seconds of a call, after one that does not count."""
    call()
    took = []
    for _ in range(repeats):
        start = time.process_time()
        call()
        took.append(time.process_time() - start)
    return min(took)


# ---------------------------------------------------------------- likelihood and learning


def spflow_tree(model: HCLT) -> Any:
    """The hidden tree of a model as SPFlow modules of the same sizes."""
    from spflow.meta.data import Scope
    from spflow.modules.leaves import Categorical
    from spflow.modules.products import ElementwiseProduct
    from spflow.modules.sums import Sum

    tree = model.trees_[0]
    m = model.n_latents
    made: dict[int, Any] = {}
    children: dict[int, list[int]] = {}
    for v in tree.order:
        children.setdefault(int(tree.parents[v]), []).append(int(v))
    for v in tree.order[::-1]:
        leaf = Categorical(Scope([int(v)]), out_channels=m, K=int(tree.sizes[v]))
        below = [Sum(made[u], out_channels=m) for u in children.get(int(v), [])]
        made[int(v)] = ElementwiseProduct([leaf, *below]) if below else leaf
    tops = [Sum(made[v], out_channels=1) for v in children[-1]]
    return tops[0] if len(tops) == 1 else ElementwiseProduct(tops)


def learning() -> None:
    from spflow.learn.expectation_maximization import expectation_maximization

    x = digits().load().images[:1_200].reshape(1_200, -1)
    model = HCLT(16, 17, random_state=0).fit(x, epochs=1, full_epochs=0)
    torch.manual_seed(0)
    theirs, data = spflow_tree(model), torch.from_numpy(x.astype(np.float32))
    parameters = sum(p.numel() for p in theirs.parameters())
    row(f"one EM pass, 1,200 digits, M = 16, {model.n_parameters_:,} / {parameters:,} parameters", *beside(
        lambda: model._learner.full_epoch(x.astype(np.int32)), lambda: expectation_maximization(theirs, data, max_steps=1)),
        "SPFlow 1.1 on torch; wanted: 5 x")
    with torch.no_grad():
        row("ln P of them", *beside(lambda: model.score_samples(x), lambda: theirs.log_likelihood(data)), "SPFlow")
    if not os.environ.get("PEER_EINSUM"):
        row("one EM pass beside EinsumNetworks", "", "not here")


def beside(ours: Callable[[], object], theirs: Callable[[], object]) -> tuple[str, str, str]:
    """Processor times of both, as cells of a row."""
    a, b = processor_seconds(ours), processor_seconds(theirs, 1)
    return f"{1e3 * a:.1f} ms", f"{1e3 * b:.1f} ms", f"{b / a:.1f} x"


# ---------------------------------------------------------------- coding


class BitSwapNetworks(nn.Module):
    """Bit-Swap's networks for MNIST at the sizes that its code publishes, with random weights: what an image takes at the least.

    Eight latents of 16 x 16, one residual block of 3 x 3 kernels each way for each of them, four of 5 x 5 kernels next to the image,
    32 channels.
    """

    def __init__(self, latents: int = 8, width: int = 32) -> None:
        super().__init__()

        def block(kernel: int) -> nn.Module:
            def convolution() -> nn.Module:
                return nn.Conv2d(width, width, kernel, padding="same")

            return nn.Sequential(convolution(), nn.ELU(), convolution(), nn.ELU())

        def path(inward: int, outward: int, kernels: list[int], first: int = 3) -> nn.Module:
            return nn.Sequential(nn.Conv2d(inward, width, first, padding="same"), nn.ELU(), *map(block, kernels),
                                 nn.Conv2d(width, 2 * outward, 3, padding="same"))

        self.inward = nn.ModuleList([path(4, 1, [5] * 4 + [3], 5), *[path(1, 1, [3]) for _ in range(latents - 1)]])
        self.outward = nn.ModuleList([path(1, 4, [3] + [5] * 4), *[path(1, 1, [3]) for _ in range(latents - 1)]])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Every network once, as encoding or decoding of images x (B, 4, 16, 16) needs."""
        z = x
        for net in self.inward:
            z = net(z)[:, :1]
        for net in self.outward[:0:-1]:
            z = net(z)[:, :1]
        return self.outward[0](z)


@cache
def prepared() -> tuple[Any, Any, HCLT, CodecModel]:
    """Images to learn from, 1,000 to compress, a model of the first, and its tables."""
    found = mnist()
    found.prepare()
    images = found.load().images
    model = HCLT(16, 256, random_state=0).fit(images[:TRAIN], epochs=3, full_epochs=1)
    return images[:TRAIN], images[60_000 : 60_000 + TEST], model, model.quantise()


def coding() -> None:
    train, x, model, tables = prepared()
    codec = Codec(tables)
    data = codec.compress(x)
    e, d = processor_seconds(partial(codec.compress, x)), processor_seconds(partial(codec.decompress, data))
    row("encode 1,000 MNIST images, M = 16, one core", f"{TEST / e:,.0f} images/s", "", "", "wanted: 2,000")
    row("decode", f"{TEST / d:,.0f} images/s", "", "", "wanted: 1,000")
    single = Codec(tables, layout="per-record")
    apart = single.compress(x)
    row("encode, record by record", f"{TEST / processor_seconds(partial(single.compress, x)):,.0f} images/s")
    row("decode", f"{TEST / processor_seconds(partial(single.decompress, apart)):,.0f} images/s")
    took = processor_seconds(lambda: model.score_samples(train))
    row("ln P of 4,000 images", f"{TRAIN / took:,.0f} images/s", "", "", "wanted: 8,000")
    part = train[:3_000].reshape(3_000, -1).astype(np.int32)
    row("one EM pass over 9,000 images", f"{3 * processor_seconds(lambda: model.trees_[0].expected_counts(part)):.2f} s", "", "",
        "wanted: 2.5 s on 2 threads")


def neural() -> None:
    train, x, _, tables = prepared()
    codec, coder = Codec(tables), BBANS(256, epochs=2).fit(train)
    data, stacks = codec.compress(x), coder.compress(x)
    contenders = {"ours": partial(codec.compress, x), "theirs": partial(coder.compress, x), "ours back": partial(codec.decompress, data),
                  "theirs back": partial(coder.decompress, stacks, TEST)}
    t = {name: processor_seconds(call) for name, call in contenders.items()}
    for what, way in (("encode beside bits back through a VAE of 200 and 50 units", ""), ("decode", " back")):
        a, b = t[f"ours{way}"], t[f"theirs{way}"]
        row(what, f"{a:.3f} s", f"{b:.3f} s", f"{b / a:.1f} x", "wanted: 5 x")
    nets = BitSwapNetworks().eval()
    with torch.no_grad():
        z = torch.zeros(20, 4, 16, 16)
        theirs = processor_seconds(lambda: nets(z), 1) * TEST / 20
    row("encode beside Bit-Swap's networks alone, published sizes", f"{t['ours']:.3f} s", f"{theirs:.1f} s", f"{theirs / t['ours']:.0f} x",
        "no coding, random weights")


def codecs() -> None:
    train, x, _, tables = prepared()
    ours = processor_seconds(partial(Codec(tables).compress, x))
    for name in ("PNG, by image", "zstd -19 with dictionary, by record", "xz -9e, one stream", "JPEG XL, by image", "JPEG XL, one sheet"):
        other = peers()[name]
        side = other.side(train)
        start = time.process_time()
        other.encode(x, side)
        theirs = time.process_time() - start
        row(f"encode beside {name}", f"{ours:.3f} s", f"{theirs:.3f} s", f"{theirs / ours:.1f} x")


def entropy_coder() -> None:
    import constriction

    _, x, _, tables = prepared()

    flat = x[:100].reshape(100, -1).astype(np.int32)
    starts, lengths = (t.ravel() for t in intervals(tables, flat, 0))
    states, words = np.full(1, 1 << 31, dtype=np.int64), np.empty(len(starts), dtype=np.uint32)
    lanes = np.zeros(len(starts), dtype=np.uint8)
    low, length = starts / 2**PRECISION, lengths / 2**PRECISION
    three = np.stack([low, length, 1 - low - length], axis=1).clip(1e-9)
    family = constriction.stream.model.Categorical(perfect=False)
    ones = np.ones(len(starts), dtype=np.int32)

    def ours() -> int:
        states[:] = 1 << 31
        return 32 * (len(words) - push(starts, lengths, lanes, states, words)) + 64

    def theirs() -> int:
        coder = constriction.stream.stack.AnsCoder()
        coder.encode_reverse(ones, family, three)
        return 32 * len(coder.get_compressed())

    a, b = processor_seconds(ours), processor_seconds(theirs)
    row("push 78,400 intervals beside constriction", f"{1e9 * a / len(starts):.1f} ns", f"{1e9 * b / len(starts):.1f} ns", f"{b / a:.0f} x")
    row("  bits of them", f"{ours():,}", f"{theirs():,}", f"{ours() / theirs():.5f}", "wanted: within 0.001")


def memory() -> None:
    tables = prepared()[3]
    row("model, canonical bytes a parameter", f"{len(tables.raw) / tables.n_parameters:.2f}", "", "", "wanted: 2")
    row("model, embedded", f"{len(tables.packed):,} B")
    row("peak resident memory of this whole run", f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB")


SECTIONS = {"learning": learning, "coding": coding, "neural": neural, "codecs": codecs, "coder": entropy_coder, "memory": memory}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("section", nargs="*", choices=[*SECTIONS, []], help="default: all")
    row("what", "ours", "theirs", "ratio")
    torch.set_num_threads(1)
    with threadpool_limits(limits=1):
        for name in parser.parse_args().section or SECTIONS:
            SECTIONS[name]()


if __name__ == "__main__":
    main()
