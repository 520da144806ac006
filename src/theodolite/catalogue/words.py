"""Search by words: BM25 over the fields of a paper, with the weights worked out beforehand.

    score(paper) = sum over words of the query of impact[word][paper]
    impact = idf * (k1 + 1) * f / (k1 + f),   f = sum over fields of weight * count / (1 - b + b * length / mean length)
    idf = log(1 + (n - df + 0.5) / (df + 0.5))

BM25 with weighted fields: Robertson, Zaragoza and Taylor, CIKM 2004. Words are folded to lower case without accents
and lose their endings by a table of suffixes; the page searches with the same table and the same impacts, so it
finds what the command line finds. A word that stands nowhere counts as the beginning of those it begins, at half weight.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence

from theodolite.catalogue.index import Paper, index
from theodolite.catalogue.trees import tags

K1, B = 1.2, 0.5
WEIGHTS = {"name": 3.0, "title": 2.5, "does": 2.0, "also": 2.0, "facets": 0.7, "runs": 1.0}
STOP_WORDS = """
    a about all an and any are as at be been but by can could did do does for from get had has have how i if in into
    is it its just like me more most my no not of on only or our out over own shall should so some such than that
    the their them then there these they this those to too up us use used using very want was way we were what when
    where whether which while who why will with without would you your paper papers method methods
"""
STOP = frozenset(STOP_WORDS.split())
"""words that say nothing about what is looked for"""
SUFFIXES: tuple[tuple[tuple[str, str, int], ...], ...] = (
    (
        ("sses", "ss", 1),
        ("iases", "ias", 1),
        ("ies", "y", 2),
        ("shes", "sh", 2),
        ("ches", "ch", 2),
        ("xes", "x", 2),
        ("ss", "ss", 0),
        ("us", "us", 0),
        ("is", "is", 0),
        ("ias", "ias", 0),
        ("s", "", 3),
    ),
    (
        ("ation", "", 3),
        ("ating", "", 3),
        ("ated", "", 3),
        ("ate", "", 3),
        ("ment", "", 3),
        ("ness", "", 3),
        ("ence", "", 4),
        ("ance", "", 4),
        ("ing", "", 3),
        ("ed", "", 3),
        ("al", "", 4),
        ("ly", "", 3),
    ),
    (("e", "", 3), ("y", "", 3), ("i", "", 4)),
)
"""steps of (ending, what stands for it, letters that must remain); in each step the first that fits is taken"""


def stem(word: str) -> str:
    """`judges`, `judging` and `judgment` become `judg`; short words and those with digits stay."""
    if len(word) < 4 or not word.isalpha():
        return word
    for step in SUFFIXES:
        for ending, put, least in step:
            if word.endswith(ending) and len(word) - len(ending) >= least:
                word = word[: len(word) - len(ending)] + put
                break
    return word[:-1] if len(word) > 3 and word[-1] == word[-2] else word


def tokens(text: str) -> list[str]:
    """The words of a text as they are indexed."""
    plain = unicodedata.normalize("NFKD", text.lower()).encode("ascii", "ignore").decode()
    return [stem(w) for w in re.findall(r"[a-z0-9]+", plain.replace("'", "")) if w not in STOP]


def fields(paper: Paper) -> Mapping[str, str]:
    """The texts in which a paper is searched, by field."""
    titles = tags()
    return {
        "name": f"{paper.key} {paper.arxiv}",
        "title": paper.title,
        "does": paper.does,
        "also": paper.also,
        "facets": " ".join(titles[t].title for t in paper.tags),
        "runs": " ".join(run.partition(":")[2].replace("_", " ") for run in paper.runs),
    }


class Words:
    """impact: word -> {number of the paper: what it adds to the score}, for papers in the order given."""

    def __init__(self, papers: Sequence[Paper]) -> None:
        self.count = len(papers)
        found = [{name: tokens(text) for name, text in fields(p).items()} for p in papers]
        mean = {f: sum(len(row[f]) for row in found) / max(len(found), 1) or 1.0 for f in WEIGHTS}
        weighed: dict[str, dict[int, float]] = {}
        for number, row in enumerate(found):
            for field, words in row.items():
                scale = WEIGHTS[field] / (1 - B + B * len(words) / mean[field])
                for word, times in Counter(words).items():
                    at = weighed.setdefault(word, {})
                    at[number] = at.get(number, 0.0) + scale * times
        self.impact = {word: self._impacts(at) for word, at in sorted(weighed.items())}

    def _impacts(self, at: Mapping[int, float]) -> dict[int, float]:
        idf = math.log1p((self.count - len(at) + 0.5) / (len(at) + 0.5))
        return {number: idf * (K1 + 1) * f / (K1 + f) for number, f in sorted(at.items())}

    def scores(self, query: str) -> list[float]:
        """One score a paper, 0 where no word of the query stands in it."""
        total = [0.0] * self.count
        for word in dict.fromkeys(tokens(query)):
            for known, share in self._known(word):
                for number, impact in self.impact[known].items():
                    total[number] += share * impact
        return total

    def _known(self, word: str) -> list[tuple[str, float]]:
        """The indexed words that a word of the query stands for, and how much each counts."""
        if word in self.impact:
            return [(word, 1.0)]
        return [(w, 0.5) for w in self.impact if len(word) > 2 and w.startswith(word)]


def standard() -> Words:
    """The index of all papers."""
    return Words(index().papers)
