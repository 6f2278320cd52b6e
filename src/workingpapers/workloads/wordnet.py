"""WordNet 3.0: its synsets, and the task *sense linking* (which gloss does a marked word in a sentence mean?).

The files are those of Debian's package `wordnet-base` (`data.*`, `*.exc`, format wndb(5WN)). A folder of the
same files from elsewhere may be named by `WORKINGPAPERS_WORDNET`; it is taken only when its decoded synsets have the
same SHA-256, for other contents would be another data set.

WordNet 3.0 Copyright 2006 by Princeton University. All rights reserved. Free to use, copy, modify and distribute.
"""

from __future__ import annotations

import functools
import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

PartOfSpeech = Literal["noun", "verb", "adj", "adv"]

OPEN, CLOSE = "«", "»"
DEBIAN_FOLDER = Path("/usr/share/wordnet")

SHA256: dict[str, str] = {
    "noun": "7826d99060c45002e26f0722bd964028f6d9c710c9107f736a94d0b789372262",
    "verb": "f166392b0bee9c02c18db1c4fc0fcd38856e5c50641e3b644b7d56833c0ebce4",
    "adj": "b5d960f7cb2b89003d4b902163c7412536cefa4a4f59c36de3edccac8a635b3f",
    "adv": "688812ded45bdb864b11d997a6dd7e3ab69ba368f0a60dadf024c5e6313662df",
}
"""SHA-256 of each part of speech's decoded synsets, as `synsets_hash` computes it."""

# Regular endings and what stands in their place in the base form: the rules of detachment of morphy(7WN).
_DETACH: dict[str, tuple[tuple[str, str], ...]] = {
    "noun": (("s", ""), ("ses", "s"), ("xes", "x"), ("zes", "z"), ("ches", "ch"), ("shes", "sh"), ("men", "man"), ("ies", "y")),
    "verb": (("s", ""), ("ies", "y"), ("es", "e"), ("es", ""), ("ed", "e"), ("ed", ""), ("ing", "e"), ("ing", "")),
    "adj": (("er", ""), ("est", ""), ("er", "e"), ("est", "e")),
    "adv": (),
}


class WordNetMissing(FileNotFoundError):
    """WordNet's files are not on this machine; the message names the remedy."""


@dataclass(frozen=True, slots=True)
class Synset:
    """One sense shared by several lemmas.

    Attributes:
        offset: byte offset of the line in its data file, WordNet's own identifier within a part of speech.
        lemmas: words and phrases with this sense, in WordNet's order, spaces instead of underscores.
        definition: the gloss without its examples.
        examples: the quoted usage examples of the gloss.
    """

    offset: int
    lemmas: tuple[str, ...]
    definition: str
    examples: tuple[str, ...]

    @property
    def item(self) -> str:
        """The text that a scorer reads for this sense: up to three lemmas, a colon, the definition."""
        return f"{', '.join(self.lemmas[:3])}: {self.definition}"


@dataclass(frozen=True, slots=True)
class SenseLinking:
    """The task: for each query (an example with the target marked) find its sense among the items.

    Attributes:
        items: `lemma, lemma: definition` of every synset, length N.
        queries: examples such as `The patient is « respiring »`, length Q.
        gold: index in `items` of each query's sense, length Q.
        targets: the lemma that each query marks, length Q.
        senses: for each lemma in lower case, the indices in `items` of all its senses.
    """

    items: tuple[str, ...]
    queries: tuple[str, ...]
    gold: tuple[int, ...]
    targets: tuple[str, ...]
    senses: dict[str, tuple[int, ...]]


def wordnet_folder() -> Path:
    """Folder with `data.verb` and its like.

    Raises:
        WordNetMissing: when neither `WORKINGPAPERS_WORDNET` nor Debian's folder holds them.
    """
    named = os.environ.get("WORKINGPAPERS_WORDNET")
    folder = Path(named) if named else DEBIAN_FOLDER
    if not (folder / "data.verb").is_file():
        raise WordNetMissing(f"no WordNet in {folder}: `apt-get install wordnet-base`, or name a folder by WORKINGPAPERS_WORDNET")
    return folder


def parse_line(line: str) -> Synset:
    """Decode one line of a data file (format wndb(5WN)).

    >>> s = parse_line('00002724 29 v 01 choke 0 001 @ 00001740 v 0000 01 + 02 00 | breathe with difficulty; "She choked"  ')
    >>> s.lemmas, s.definition, s.examples
    (('choke',), 'breathe with difficulty', ('She choked',))
    """
    facts, bar, gloss = line.partition(" | ")
    fields = facts.split()
    if not bar or len(fields) < 6:
        raise ValueError(f"line: not a synset of a WordNet data file: {line[:60]!r}")
    count = int(fields[3], 16)
    lemmas = (re.sub(r"\((a|p|ip)\)$", "", word).replace("_", " ") for word in fields[4 : 4 + 2 * count : 2])
    quote = gloss.find('"')
    definition = (gloss if quote < 0 else gloss[:quote]).strip().rstrip(";:, ")
    examples = tuple(e.strip() for e in re.findall(r'"([^"]+)"', gloss) if e.strip())
    return Synset(int(fields[0]), tuple(lemmas), definition or gloss.strip(), examples)


def synsets_hash(synsets: tuple[Synset, ...]) -> str:
    """SHA-256 of the decoded synsets: one line each, fields separated by tabs."""
    digest = hashlib.sha256()
    for s in synsets:
        digest.update("\t".join((str(s.offset), "|".join(s.lemmas), s.definition, "|".join(s.examples), "\n")).encode())
    return digest.hexdigest()


@functools.lru_cache(maxsize=4)
def synsets(pos: PartOfSpeech) -> tuple[Synset, ...]:
    """All synsets of a part of speech, in file order (verbs: 13,767 in 0.3 s).

    Raises:
        WordNetMissing: when the files are not here.
        ValueError: for an unknown `pos`, or contents that are not WordNet 3.0.
    """
    if pos not in SHA256:
        raise ValueError(f"pos: {pos!r} is none of {', '.join(SHA256)}")
    path = wordnet_folder() / f"data.{pos}"
    lines = path.read_text(encoding="utf-8").splitlines()
    found = tuple(parse_line(line) for line in lines if not line.startswith("  "))
    if synsets_hash(found) != SHA256[pos]:
        raise ValueError(f"{path}: not the contents of WordNet 3.0 (SHA-256 {synsets_hash(found)[:12]}…)")
    return found


@functools.lru_cache(maxsize=4)
def _exceptions(pos: PartOfSpeech) -> dict[str, tuple[str, ...]]:
    path = wordnet_folder() / f"{pos}.exc"
    rows = (line.split() for line in path.read_text(encoding="utf-8").splitlines()) if path.is_file() else ()
    return {row[0]: tuple(row[1:]) for row in rows if len(row) > 1}


def base_forms(word: str, pos: PartOfSpeech, exceptions: dict[str, tuple[str, ...]] | None = None) -> set[str]:
    """Words that `word` may be an inflection of (a superset: not all of them exist).

    >>> sorted(base_forms("breathing", "verb", {}))
    ['breath', 'breathe', 'breathing']
    >>> "go" in base_forms("went", "verb", {"went": ("go",)})
    True
    """
    word = word.lower()
    forms = {word, *(_exceptions(pos) if exceptions is None else exceptions).get(word, ())}
    for ending, instead in _DETACH[pos]:
        if word.endswith(ending) and len(word) > len(ending):
            base = word[: -len(ending)] + instead
            forms.add(base)
            if ending in ("ed", "ing") and not instead and len(base) > 2 and base[-1] == base[-2]:
                forms.add(base[:-1])  # stopped, running
    return forms


def mark(
    example: str, lemmas: tuple[str, ...], pos: PartOfSpeech, exceptions: dict[str, tuple[str, ...]] | None = None
) -> tuple[str, str] | None:
    """Put « » around the first inflection of one of `lemmas` in `example`; None when there is none.

    >>> mark("The patient is respiring", ("breathe", "respire"), "verb", {})
    ('The patient is « respiring »', 'respire')
    """
    words = [(m.start(), m.end(), m.group()) for m in re.finditer(r"[A-Za-z][A-Za-z'\-]*", example)]
    for lemma in lemmas:
        head, *tail = lemma.lower().split()
        for i, (start, end, word) in enumerate(words):
            rest = words[i + 1 : i + 1 + len(tail)]
            if head in base_forms(word, pos, exceptions) and [w.lower() for *_, w in rest] == tail:
                stop = rest[-1][1] if rest else end
                return f"{example[:start]}{OPEN} {example[start:stop]} {CLOSE}{example[stop:]}", lemma
    return None


def sense_linking(pos: PartOfSpeech = "verb") -> SenseLinking:
    """The sense-linking task of one part of speech: every synset is an item, every example in which a lemma was found a query.

    Raises:
        WordNetMissing: when WordNet's files are not here.
    """
    all_synsets = synsets(pos)
    queries: list[str] = []
    gold: list[int] = []
    targets: list[str] = []
    senses: dict[str, list[int]] = {}
    for i, synset in enumerate(all_synsets):
        for lemma in synset.lemmas:
            senses.setdefault(lemma.lower(), []).append(i)
        for example in synset.examples:
            marked = mark(example, synset.lemmas, pos)
            if marked is not None:
                queries.append(marked[0])
                gold.append(i)
                targets.append(marked[1].lower())
    items = tuple(s.item for s in all_synsets)
    return SenseLinking(items, tuple(queries), tuple(gold), tuple(targets), {k: tuple(v) for k, v in senses.items()})
