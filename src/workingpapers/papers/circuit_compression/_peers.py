"""Standard codecs on the same records: real bytes, by record and as one stream or sheet."""

from __future__ import annotations

import io
import lzma
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

DICTIONARY_BYTES = 112_640  # the size that zstd's own tool trains


@dataclass(frozen=True)
class Peer:
    """A codec for records (N, H, W) or (N, D) of uint8.

    Attributes:
        name: as on the command line.
        encode: records and, where it learns, training records, to a list of files' bytes.
        decode: those files back to records of the given shape.
        side: bytes that the reader must have besides (a dictionary), from training records.
        is_for_images: needs (N, H, W).
    """

    name: str
    encode: Callable[[Array, bytes], list[bytes]]
    decode: Callable[[list[bytes], tuple[int, ...], bytes], Array]
    side: Callable[[Array], bytes] = lambda train: b""
    is_for_images: bool = True


def sheet(images: Array) -> Array:
    """Images (N, H, W) tiled into one, nearly square; empty places are 0.

    Example:
        >>> sheet(np.arange(8, dtype=np.uint8).reshape(2, 2, 2)).tolist()
        [[0, 1, 4, 5], [2, 3, 6, 7]]
    """
    n, h, w = images.shape
    across = math.ceil(math.sqrt(n))
    down = math.ceil(n / across)
    padded = np.zeros((across * down, h, w), dtype=images.dtype)
    padded[:n] = images
    return padded.reshape(down, across, h, w).swapaxes(1, 2).reshape(down * h, across * w)


def unsheet(tiled: Array, shape: tuple[int, ...]) -> Array:
    """The inverse of `sheet`."""
    n, h, w = shape
    down, across = tiled.shape[0] // h, tiled.shape[1] // w
    return tiled.reshape(down, h, across, w).swapaxes(1, 2).reshape(down * across, h, w)[:n]


def _saved(image: Array, **options: Any) -> bytes:
    from PIL import Image

    out = io.BytesIO()
    Image.fromarray(image).save(out, **options)
    return out.getvalue()


def _opened(data: bytes) -> Array:
    from PIL import Image

    Image.MAX_IMAGE_PIXELS = None
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image.convert("L") if image.mode != "L" else image)


def _jpeg_xl(image: Array) -> bytes:
    import imagecodecs

    return bytes(imagecodecs.jpegxl_encode(image, lossless=True, effort=10, numthreads=1))


def _from_jpeg_xl(data: bytes) -> Array:
    import imagecodecs

    return np.asarray(imagecodecs.jpegxl_decode(data, numthreads=1))


def _image_peers(name: str, save: Callable[[Array], bytes], open_: Callable[[bytes], Array] = _opened) -> list[Peer]:
    def one_by_one(x: Array, side: bytes) -> list[bytes]:
        return [save(image) for image in x]

    def together(x: Array, side: bytes) -> list[bytes]:
        return [save(sheet(x))]

    def back_one_by_one(files: list[bytes], shape: tuple[int, ...], side: bytes) -> Array:
        return np.stack([open_(f) for f in files]) if files else np.zeros(shape, np.uint8)

    def back_together(files: list[bytes], shape: tuple[int, ...], side: bytes) -> Array:
        return unsheet(open_(files[0]), shape)

    return [Peer(f"{name}, by image", one_by_one, back_one_by_one), Peer(f"{name}, one sheet", together, back_together)]


def _zstd_dictionary(train: Array) -> bytes:
    import zstandard

    samples = [row.tobytes() for row in train]
    size = min(DICTIONARY_BYTES, max(1_024, sum(map(len, samples)) // 10))
    try:
        return zstandard.train_dictionary(size, samples).as_bytes()
    except zstandard.ZstdError:  # too few or too uniform samples: a dictionary of raw samples does as well
        return b"".join(samples)[:size]


def _zstd_each(x: Array, side: bytes) -> list[bytes]:
    import zstandard

    shared = zstandard.ZstdCompressionDict(side) if side else None
    coder = zstandard.ZstdCompressor(level=19, dict_data=shared, write_content_size=False, write_checksum=False, write_dict_id=False)
    return [coder.compress(row.tobytes()) for row in x]


def _unzstd_each(files: list[bytes], shape: tuple[int, ...], side: bytes) -> Array:
    import zstandard

    coder = zstandard.ZstdDecompressor(dict_data=zstandard.ZstdCompressionDict(side) if side else None)
    size = int(np.prod(shape[1:]))
    rows = [coder.decompress(f, max_output_size=size) for f in files]
    return np.frombuffer(b"".join(rows), np.uint8).reshape(shape)


def _zstd_stream(x: Array, side: bytes) -> list[bytes]:
    import zstandard

    return [zstandard.ZstdCompressor(level=22, write_checksum=False).compress(x.tobytes())]


def _unzstd_stream(files: list[bytes], shape: tuple[int, ...], side: bytes) -> Array:
    import zstandard

    return np.frombuffer(zstandard.ZstdDecompressor().decompress(files[0]), np.uint8).reshape(shape)


def _xz(data: bytes) -> bytes:
    # preset 9e with a window no larger than the data: the same bytes, without 600 MB of memory for each record
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME, "dict_size": min(1 << 26, max(4_096, len(data)))}]
    return lzma.compress(data, format=lzma.FORMAT_XZ, check=lzma.CHECK_NONE, filters=filters)


def _unxz(files: list[bytes], shape: tuple[int, ...], side: bytes) -> Array:
    return np.frombuffer(b"".join(lzma.decompress(f) for f in files), np.uint8).reshape(shape)


def peers() -> dict[str, Peer]:
    """All codecs by name, at the settings that make the smallest files."""
    images = [
        *_image_peers("PNG", partial(_saved, format="PNG", optimize=True)),
        *_image_peers("WebP", partial(_saved, format="WEBP", lossless=True, quality=100, method=6, exact=True)),
        *_image_peers("JPEG XL", _jpeg_xl, _from_jpeg_xl),
        *_image_peers("JPEG 2000", partial(_saved, format="JPEG2000", irreversible=False)),
    ]
    others = [
        Peer("zstd -19, by record", _zstd_each, _unzstd_each, is_for_images=False),
        Peer("zstd -19 with dictionary, by record", _zstd_each, _unzstd_each, _zstd_dictionary, is_for_images=False),
        Peer("zstd -22, one stream", _zstd_stream, _unzstd_stream, is_for_images=False),
        Peer("xz -9e, by record", lambda x, side: [_xz(row.tobytes()) for row in x], _unxz, is_for_images=False),
        Peer("xz -9e, one stream", lambda x, side: [_xz(x.tobytes())], _unxz, is_for_images=False),
    ]
    return {p.name: p for p in [*images, *others]}


FAMILIES = {"png": "PNG", "webp": "WebP", "jxl": "JPEG XL", "jp2": "JPEG 2000", "zstd": "zstd", "xz": "xz"}


def chosen(families: Sequence[str]) -> list[Peer]:
    """Codecs of the named families (`png`, `webp`, `jxl`, `jp2`, `zstd`, `xz`).

    Raises:
        ValueError: a family that does not exist.
    """
    unknown = [f for f in families if f not in FAMILIES]
    if unknown:
        raise ValueError(f"against must name codecs among {', '.join(FAMILIES)}, got {unknown[0]!r}")
    return [p for f in families for p in peers().values() if p.name.startswith(FAMILIES[f])]
