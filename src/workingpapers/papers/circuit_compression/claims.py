"""How the claims of paper.toml are tried. Every size is that of bytes that were written and, once in a trial, decoded again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from workingpapers.claims import (
    Check,
    TimedTrial,
    Trial,
    all_of,
    at,
    baseline,
    bound,
    claim,
    control,
    difference,
    each_of,
    each_point,
    headline,
    method,
    peer,
    ratio,
    side_by_side,
    slope,
)

from . import HCLT, Archive, Codec
from ._bbans import BBANS
from ._blocks import intervals
from ._kernels import PRECISION
from ._learn import GREY
from ._model import CodecModel
from ._peers import Peer, peers
from ._workloads import ImageSet, Shape, Split

Array = npt.NDArray[Any]

PC, RANDOM_TREE, VAE = "HCLT", "HCLT on a random tree", "VAE, bits back"


def fit(split: Split, point: ImageSet, seed: int, **options: Any) -> HCLT:
    """The model of a workload point, at the settings for grey values."""
    model = HCLT(point.n_latents, split.n_categories, random_state=seed, **GREY, **options)
    return model.fit(split.train, epochs=point.epochs, full_epochs=point.full_epochs, batch_size=point.batch_size)


# ---------------------------------------------------------------- roundtrip

BLOCKS, EACH, REFERENCE = "blocks", "record by record", "reference coder"
MOST_BITS_A_RECORD = 0.06 * 784


@dataclass(frozen=True)
class Coded:
    """What a coder gave back, and the bits that it took: of the records alone, and with what leads to them in the file."""

    back: Array
    bits: int


def through_codec(model: CodecModel, x: Array, layout: Any) -> Coded:
    """Compress and decompress; bits of blocks and directory, without the file's fixed header and footer (144 bytes)."""
    codec = Codec(model, layout=layout)
    data = codec.compress(x)
    with Archive(data, model) as archive:
        directory = len(data) - archive.blocks[-1].offset - archive.blocks[-1].length - 36
        return Coded(archive.read(), 8 * (sum(b.length for b in archive.blocks) + directory))


def through_constriction(model: CodecModel, x: Array) -> Coded:
    """The same intervals through the ANS coder of the library `constriction` (24-bit probabilities of its own rounding)."""
    import constriction

    family = constriction.stream.model.Categorical(perfect=False)
    flat = x.reshape(len(x), -1).astype(np.int32)
    is_same, bits = np.ones(len(x), dtype=bool), 0
    for start in range(0, len(x), 160):
        part = flat[start : start + 160]
        low, length = (t.astype(np.float64).ravel() / 2**PRECISION for t in intervals(model, part, 0))
        three = np.stack([low, length, 1 - low - length], axis=1).clip(1e-9)
        coder = constriction.stream.stack.AnsCoder()
        coder.encode_reverse(np.ones(len(three), dtype=np.int32), family, three)
        bits += 32 * len(coder.get_compressed())
        found = coder.decode(family, three).reshape(part.shape)
        is_same[start : start + 160] = (found == 1).all(axis=1)
    back = x.copy()
    back[~is_same] = 0
    return Coded(back, bits)


@claim("roundtrip",
       arms={BLOCKS: method(through_codec, layout="block"), EACH: method(through_codec, layout="per-record"),
             REFERENCE: peer(through_constriction)},
       points=at(smoke=[ImageSet("digits", 1_100, 690, 8, batch_size=128)],
                 small=[ImageSet("mnist", 9_000, 10_000, epochs=4, full_epochs=1)],
                 full=[ImageSet("mnist", 60_000, 10_000, epochs=10)]),
       seeds=at(smoke=3, small=3, full=3),
       rule=all_of(headline(bound("mismatches", BLOCKS) <= 0), bound("mismatches", EACH) <= 0, bound("overhead", BLOCKS) <= 0.01,
                   bound("record_overhead", EACH) <= MOST_BITS_A_RECORD))
def roundtrip(trial: Trial) -> dict[str, float]:
    """Records that come back different, and bits above -log2 P of the learned model (in floats, before quantising)."""
    split = trial.point.load(trial.rng)
    model = fit(split, trial.point, trial.seed)
    coded = trial.arm.build(model.quantise(), split.test)
    if coded.back.dtype != split.test.dtype or coded.back.shape != split.test.shape:
        return {"mismatches": float(len(split.test))}
    wrong = (coded.back != split.test).reshape(len(split.test), -1).any(axis=1).sum()
    ideal = -float(model.score_samples(split.test).sum())
    n, d = len(split.test), split.test[0].size
    return {"mismatches": float(wrong), "overhead": (coded.bits - ideal) / (n * d), "record_overhead": (coded.bits - ideal) / n,
            "relative_overhead": coded.bits / ideal - 1, "ideal": ideal / (n * d)}


# ---------------------------------------------------------------- bitrate


@dataclass(frozen=True)
class Rate:
    """Bytes of compressed records together, each by itself (None where a codec has no such form), and of what the reader needs besides."""

    data: int
    each: int | None
    side: int


def by_circuit(split: Split, point: ImageSet, seed: int, structure: Any = "chow-liu") -> Rate:
    """Whole `.pcz` files in blocks and record by record, and the model's bytes as they would be embedded."""
    model = fit(split, point, seed, structure=structure).quantise()
    sizes = []
    for codec in (Codec(model), Codec(model, layout="per-record")):
        data = codec.compress(split.test)
        if not (codec.decompress(data) == split.test).all():
            raise AssertionError("records did not come back")
        sizes.append(len(data))
    return Rate(sizes[0], sizes[1], len(model.packed))


def by_vae(split: Split, point: ImageSet, seed: int) -> Rate:
    """Bits back through a variational autoencoder: 32-bit words of all chains, and its weights as half floats."""
    coder = BBANS(split.n_categories, epochs=point.neural_epochs, random_state=seed).fit(split.train)
    stacks = coder.compress(split.test)
    if not (coder.decompress(stacks, len(split.test)) == split.test.reshape(len(split.test), -1)).all():
        raise AssertionError("records did not come back")
    return Rate(4 * sum(map(len, stacks)), None, 2 * sum(p.numel() for p in coder.network.parameters()))


FORMS = {
    "PNG": ("PNG, one sheet", "PNG, by image"), "WebP": ("WebP, one sheet", "WebP, by image"),
    "JPEG XL": ("JPEG XL, one sheet", "JPEG XL, by image"), "JPEG 2000": ("JPEG 2000, one sheet", "JPEG 2000, by image"),
    "zstd": ("zstd -22, one stream", "zstd -19 with dictionary, by record"), "xz": ("xz -9e, one stream", "xz -9e, by record"),
}  # fmt: skip


def by_peer(split: Split, point: ImageSet, seed: int, name: str) -> Rate:
    """A standard codec on all images as one sheet or stream, and on each by itself; files whole."""
    sizes = []
    for form in FORMS[name]:
        codec = peers()[form]
        side = codec.side(split.train)
        files = codec.encode(split.test, side)
        if not (codec.decode(files, split.test.shape, side) == split.test).all():
            raise AssertionError(f"{form}: records did not come back")
        sizes.append((sum(map(len, files)), len(side)))
    (together, _), (each, side_bytes) = sizes
    return Rate(min(together, each + side_bytes), each, 0)


STRONGEST = "JPEG XL"


@claim("bitrate",
       arms={PC: method(by_circuit), VAE: baseline(by_vae), RANDOM_TREE: control(by_circuit, structure="random"),
             **{name: baseline(by_peer, name=name) for name in FORMS}},
       points=at(smoke=[ImageSet("digits", 1_000, 150, 8, 4, 1, 128, 2)],
                 small=[ImageSet("mnist", 9_000, 1_000)],
                 full=[ImageSet("mnist", 60_000, 10_000, epochs=12), ImageSet("fashion-mnist", 60_000, 10_000, 32, epochs=12)]),
       seeds=at(smoke=3, small=3, full=3),
       rule=all_of(each_of(*(headline(difference("bpd", PC, name) < 0) if name == STRONGEST else difference("bpd", PC, name) < 0
                             for name in (VAE, *FORMS)), over="codecs"),
                   each_of(*(difference("bpd_by_image", PC, name) < 0 for name in FORMS), over="codecs, image by image"),
                   difference("bpd", PC, RANDOM_TREE, name="the control loses") < 0))
def bitrate(trial: Trial) -> dict[str, float]:
    """Bits a pixel of all images together and each by itself, without and with what the reader needs besides."""
    split = trial.point.load(trial.rng)
    torch.set_num_threads(1)
    rate = trial.arm.build(split, trial.point, trial.seed)
    pixels = split.test.size
    found = {"bpd": 8 * rate.data / pixels, "bpd_with_model": 8 * (rate.data + rate.side) / pixels}
    if rate.each is not None:
        found["bpd_by_image"] = 8 * rate.each / pixels
    if trial.arm.name == PC and (saved := by_peer(split, trial.point, trial.seed, BREAK_EVEN_WITH).data - rate.data) > 0:
        found["break_even"] = rate.side / saved * len(split.test)
    return found


BREAK_EVEN_WITH = "xz"


@bitrate.note
def who_wins(checks: Sequence[Check]) -> str:
    """Codecs that need no more bits than the circuit, by name."""
    inside = [c for c in checks if c.metric == "bpd" and "codecs" in " ".join(c.group)]
    lost = [c.rule.removeprefix(f"bpd of {PC} - ").split(" < ")[0] for c in inside if c.verdict == "fails"]
    words = f"Needing as few bits or fewer: {', '.join(lost)}." if lost else "No codec here needs as few bits if the model is not counted."
    return words + f" From how many images on the model has paid for itself against {BREAK_EVEN_WITH} stands beside."


# ---------------------------------------------------------------- speed

TIMED_PEERS = ("PNG, by image", "JPEG XL, by image", "xz -9e, one stream")


def _two_ways(name: str, split: Split, point: ImageSet, seed: int) -> tuple[Callable[[], Any], Callable[[], Any], float]:
    """Encoder and decoder of an arm, ready to be timed, and bits a pixel. Both are held to give back the records first."""
    x = split.test
    encode: Callable[[], Any]
    decode: Callable[[], Any]
    if name == PC:
        codec = Codec(fit(split, point, seed).quantise())
        data = codec.compress(x)
        encode, decode, size = partial(codec.compress, x), partial(codec.decompress, data), len(data)
    elif name == VAE:
        coder = BBANS(split.n_categories, epochs=point.neural_epochs, random_state=seed).fit(split.train)
        stacks = coder.compress(x)
        encode, decode = partial(coder.compress, x), lambda: coder.decompress(stacks, len(x)).reshape(x.shape)
        size = 4 * sum(map(len, stacks))
    else:
        other = peers()[name]
        side = other.side(split.train)
        files = other.encode(x, side)
        encode, decode, size = partial(other.encode, x, side), partial(other.decode, files, x.shape, side), sum(map(len, files))
    if not (decode() == x).all():
        raise AssertionError(f"{name}: records did not come back")
    return encode, decode, 8 * size / x.size


@claim("speed",
       arms={PC: method(by_circuit), VAE: baseline(by_vae), **{name: peer(Peer, name=name) for name in TIMED_PEERS}},
       points=at(smoke=[ImageSet("digits", 300, 100, 16, 1, 0, 128, 1)],
                 small=[ImageSet("mnist", 4_000, 1_000, 16, 3, 1, neural_epochs=15)],
                 full=[ImageSet("mnist", 60_000, 10_000, 16, 6, 1)]),
       seeds=at(smoke=3, small=3, full=3),
       is_timed=True,
       rule=all_of(headline(ratio("encode_seconds", VAE, PC) >= 5), ratio("decode_seconds", VAE, PC) >= 5))
def speed(trial: TimedTrial) -> dict[str, dict[str, float]]:
    """Seconds to compress and to decompress 1,000 images on one thread; the models are learned and loaded before."""
    split = trial.point.load(trial.rng)
    torch.set_num_threads(1)
    ready = {name: _two_ways(name, split, trial.point, trial.seed) for name in trial.arms}
    scale = 1_000 / len(split.test)
    out: dict[str, dict[str, float]] = {name: {"bpd": both[2]} for name, both in ready.items()}
    for metric, which in (("encode_seconds", 0), ("decode_seconds", 1)):
        timings = side_by_side({name: both[which] for name, both in ready.items()}, repeats=3)  # type: ignore[misc]
        for name, timing in timings.items():
            out[name][metric] = timing.best * scale
    return out


@speed.note
def same_rate(checks: Sequence[Check]) -> str:
    """What the numbers are, and are not."""
    return ("The neural codec here is the smallest published one for MNIST, with a compiled coder on the same thread. It needs more bits "
            "than the circuit; networks that reach the circuit's rate are deeper, and the paper timed those on a GPU.")


# ---------------------------------------------------------------- logd

CHANGED, CARRIED, WHOLE, SMALLER = "changed units only", "carried beliefs", "one pass a pixel", "changed units, smaller child first"
TIMED_UP_TO = {"smoke": 784, "small": 1_600, "full": 784}


def _shapes(states: int, **sides: Sequence[int]) -> list[Shape]:
    return [Shape(kind.replace("_", " "), s * s, states) for kind, given in sides.items() for s in given]


def conditionals(circuit: Any, x: Array, algorithm: Any, order: Any = "larger-first") -> Any:
    """All conditionals of rows x."""
    return circuit.ordered_conditionals(x, order, algorithm)


@claim("logd",
       arms={CHANGED: method(conditionals, algorithm="changed-only"), CARRIED: method(conditionals, algorithm="carried-beliefs"),
             WHOLE: baseline(conditionals, algorithm="whole-passes"),
             SMALLER: control(conditionals, algorithm="changed-only", order="smaller-first")},
       points=at(smoke=_shapes(4, balanced=(10, 16, 22), chain=(28,), pixel_tree=(8, 28)),
                 small=[*_shapes(4, balanced=(8, 16, 28, 40, 56), chain=(8, 28, 56), pixel_tree=(8, 16, 28, 56)), Shape("mnist tree", 784)],
                 full=[*_shapes(16, balanced=(8, 16, 28, 56), chain=(8, 28, 56), pixel_tree=(8, 28, 56)), Shape("mnist tree", 784, 16)]),
       seeds=at(smoke=3, small=3, full=3),
       is_timed=True,
       rule=all_of(each_point(headline(bound("units_over_bound", CHANGED) <= 1)), bound("units_over_bound", CARRIED) <= 1,
                   slope("units_over_size", WHOLE, x="pixels", name="growth of the plain way's units") >= 0.9,
                   slope("seconds_over_size", WHOLE, x="pixels", name="growth of the plain way's time") >= 0.9))
def logd(trial: TimedTrial) -> dict[str, dict[str, float]]:
    """Elements and leaf units touched for all conditionals of one image, over |p| and over (1 + log2 D) |p|; seconds where |p| is small."""
    d = trial.point.pixels
    circuit = trial.point.load(trial.rng)
    x = trial.rng_for("image").integers(0, 4, size=(1, d))
    likelihood = circuit.log_prob(x)[0]
    is_timed = d <= TIMED_UP_TO[trial.scale] and trial.point.kind == "balanced"
    out: dict[str, dict[str, float]] = {}
    for name, arm in trial.arms.items():
        touched = d * circuit.size  # what the plain way is; it is carried out, and counted, where it is timed
        if name != WHOLE or is_timed:
            found = arm.build(circuit, x)
            touched = int(found.touched[0])
            if abs(np.log(found.point).sum() - likelihood) > 1e-6 * d:
                raise AssertionError(f"{name}: the conditionals do not multiply up to the likelihood")
        over = touched / circuit.size
        out[name] = {"units": float(touched), "units_over_size": over, "units_over_bound": over / (1 + np.log2(d))}
    if is_timed:
        timings = side_by_side({name: partial(arm.build, circuit, x) for name, arm in trial.arms.items()}, repeats=3)
        for name, t in timings.items():
            out[name] |= {"seconds": t.best, "seconds_over_size": t.best / circuit.size}
    return out


@logd.note
def where_it_breaks(checks: Sequence[Check]) -> str:
    """Shapes at which the paper's algorithm passes its bound."""
    broken = [c.point for c in checks if c.metric == "units_over_bound" and c.verdict == "fails" and c.point]
    if not broken:
        return ""
    return (f"Re-evaluating what changed passes (1 + log2 D) |p| on {'; '.join(broken)}: vtrees of such trees are not balanced. "
            "Carrying beliefs down the tree, as the codec does, stays within 3 |p| on all.")


__all__ = ["bitrate", "logd", "roundtrip", "speed"]
