"""Static files: kept for good under the hash of their bytes, and packed."""

from __future__ import annotations

from typing import Any

from workingpapers.hub.rendering import asset


def test_scripts_and_styles_are_packed_once_and_well(client: Any) -> None:
    path = asset("vendor/katex/katex.min.js")
    plain = client.get(path, headers={"accept-encoding": "identity"})
    packed = client.get(path, headers={"accept-encoding": "gzip, br"})
    assert "content-encoding" not in plain.headers
    assert packed.headers["content-encoding"] == "gzip"
    assert packed.headers["vary"] == "Accept-Encoding"
    assert packed.headers["content-type"] == plain.headers["content-type"]
    assert "immutable" in packed.headers["cache-control"]
    assert packed.content == plain.content
    assert int(packed.headers["content-length"]) < 0.3 * len(plain.content)
    assert client.get(path, headers={"accept-encoding": "gzip", "if-none-match": packed.headers["etag"]}).status_code == 304
    assert client.head(path, headers={"accept-encoding": "gzip"}).content == b""
