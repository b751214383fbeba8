# SPDX-License-Identifier: Apache-2.0
"""Words of a text as search terms, and how well documents fit them; pure.

Documents are ranked by BM25F: what a term weighs in all fields of a document is added up, and
saturates as one.

Source: Robertson and Zaragoza, "The Probabilistic Relevance Framework: BM25 and Beyond", 2009,
sections 3.4 and 3.6.
"""

import math
import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Final

SATURATION: Final = 1.2
"""k1: how soon it adds nothing that a term stands there once more."""
LENGTH: Final = 0.5
"""b: how much it counts against a document, from 0 to 1, that a field is long."""
_SAYING_NOTHING: Final = """\
a about after again all also am an and another any anybody anyone anything are around as at away
back be because been before begin behind being below beside best better both but by came can come
comes could day days did do does doing don done each else enough even ever every everybody
everyone everything feel feeling few first five for found four from get gets give go goes got had
hard has have he hello help her here him his hour hours how if in instead into is it its just keep
keeps kind know last least left less let like long look lot lots made make makes many maybe me
mean means might minute minutes month months more most much must my need needs never new next nice
no nobody none not nothing now of off often old on once one only or other our ours out over own
per perhaps please previous problem put quite rather really right same say see seem seems several
she should since so some somebody somehow someone something soon stay still such sure take tell
ten than thanks that the their theirs them then there these they thing things this those though
three through to today together tomorrow too toward try trying twice two under until up upon us
use used using usual various very want wants was way we week weeks well went were what whatever
when where whether which while who whole whom whose why will with within without won work working
works would wrong year years yesterday yet you your
"""
_STOP: Final = frozenset(_SAYING_NOTHING.split())
"""Words that tell nothing of a subject."""
_ENDINGS: Final = (
    *(("ational", "ate"), ("ization", "ize"), ("isation", "ize"), ("fulness", "ful")),
    *(("ations", "ate"), ("ation", "ate"), ("ments", ""), ("ment", ""), ("ness", "")),
    *(("ities", ""), ("ity", ""), ("ings", ""), ("ing", ""), ("ions", ""), ("ion", "")),
    *(("ies", "y"), ("ied", "y"), ("ed", ""), ("ers", ""), ("er", ""), ("ors", ""), ("or", "")),
    *(("ly", ""), ("sses", "ss"), ("ses", "se"), ("xes", "x"), ("hes", "h"), ("ss", "ss")),
    *(("us", "us"), ("s", "")),
)
"""Endings of English words and what is put instead; the first that fits is taken."""
_DOUBLED: Final = frozenset("bcdfgkmnprt")
_ONE_LETTER: Final = frozenset("cr")
"""Languages, unlike other letters that stand alone."""
_WORD: Final = re.compile(r"[^\W_](?:[^\W_]|[+#])*(?:[.'/](?:[^\W_]|[+#])+)*")
"""Letters of all scripts: of ``fünf`` no ``f`` and ``nf`` may be left."""
_GO: Final = re.compile(r"(?<=[a-z0-9,:;(] )Go\b")
"""The language within a sentence; at its beginning it may be the verb."""
_MAX_WORD: Final = 40


def terms(text: str) -> Iterator[tuple[str, str]]:
    """Yield the search terms of a text, each with the word it came from."""
    for word in _WORD.findall(_GO.sub("golang", text.replace("\u2019", "'"))):
        if len(word) <= _MAX_WORD:
            for term in _terms_of(word.lower()):
                yield term, word


def _terms_of(word: str) -> Iterator[str]:
    """Yield the terms of one word: ``next.js`` is one by itself and is its parts."""
    parts = re.split("[.'/]", word)
    if len(parts) > 1 and "'" not in word:
        yield word
    for part in parts:
        if part not in _STOP and (len(part) > 1 or part in _ONE_LETTER):
            yield stem(part)


def stem(word: str) -> str:
    """Return a word without its ending; it need not be a word then."""
    if len(word) <= 3 or not word.isalpha():
        return word
    for ending, instead in _ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            word = word.removesuffix(ending) + instead
            break
    if len(word) > 3 and word[-1] == word[-2] and word[-1] in _DOUBLED:
        word = word[:-1]
    return word.removesuffix("e") if len(word) > 4 else word


class Index:
    """Documents that can be ranked.

    Args:
        documents: texts of each document by field.
        weights: what a term in a field counts.
    """

    def __init__(
        self, documents: Sequence[Mapping[str, str]], *, weights: Mapping[str, float]
    ) -> None:
        counted = [
            {field: Counter(term for term, _ in terms(document[field])) for field in weights}
            for document in documents
        ]
        sizes = {field: sum(one[field].total() for one in counted) for field in weights}
        self._held: list[Mapping[str, float]] = []
        for one in counted:
            held: dict[str, float] = {}
            for field, counts in one.items():
                relative = counts.total() * len(counted) / max(1, sizes[field])
                share = weights[field] / (1 - LENGTH + LENGTH * relative)
                for term, count in counts.items():
                    held[term] = held.get(term, 0.0) + share * count
            self._held.append(held)
        spread = Counter(term for held in self._held for term in held)
        self._rarity = {
            term: math.log(1 + (len(counted) - count + 0.5) / (count + 0.5))
            for term, count in spread.items()
        }

    def rank(self, asked: Collection[str]) -> list[dict[str, float]]:
        """Return what each of these terms adds to the score of each document, in their order."""
        return [
            {
                term: self._rarity[term] * held[term] * (SATURATION + 1) / (held[term] + SATURATION)
                for term in asked
                if term in held
            }
            for held in self._held
        ]
