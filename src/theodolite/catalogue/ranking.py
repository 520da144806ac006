"""Search by meaning where the sentence encoder is installed, by words otherwise.

With the encoder, score = cosine(query, paper) + SHARE * (BM25 score / best BM25 score): meaning decides, and a name
or a rare word that is spelt out still counts. Without it the score is BM25's. A query that is a paper's short name,
number or title finds that paper first.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from theodolite.catalogue.index import Paper, keep, papers
from theodolite.catalogue.words import Words, standard

SHARE = 0.25
"""how much the words add to the meaning"""
BY = ("meaning", "words")


class Encodes(Protocol):
    """What makes (n, d) vectors at unit length of n texts."""

    def vectors(self, texts: Sequence[str]) -> np.ndarray: ...

    def __hash__(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Hit:
    """A paper that was found. score: higher is nearer; only the order within one search has a meaning."""

    paper: Paper
    score: float


def search(
    text: str,
    *,
    family: str | None = None,
    facet: str | None = None,
    runnable: bool = False,
    limit: int | None = 10,
    words_only: bool = False,
) -> list[Hit]:
    """Papers for a question in plain words, best first: `search("is the judge biased by position")`."""
    encoder = None if words_only else _encoder()
    allowed = {p.key for p in keep(papers(), family=family, facet=facet, runnable=runnable)}
    hits = [h for h in rank(text, encoder) if h.paper.key in allowed]
    return hits[:limit]


def rank(text: str, encoder: Encodes | None = None) -> list[Hit]:
    """All papers that have anything to do with the text, best first; ties in the order of the index."""
    found = papers()
    scores = np.array(_words().scores(text))
    if encoder is not None:
        scores = encoder.vectors([text])[0] @ _vectors(encoder).T + SHARE * scores / max(scores.max(), 1e-9)
    scores = scores + 100.0 * np.array([_named(text, p) for p in found])
    order = np.argsort(-scores, kind="stable")
    return [Hit(found[i], float(scores[i])) for i in order if encoder is not None or scores[i] > 0]


def similar(encoder: Encodes | None = None, most: int = 4) -> dict[str, list[Paper]]:
    """For each paper the nearest others, by meaning or by words; papers out of scope only among themselves."""
    found = papers()
    if encoder is not None:
        table = _vectors(encoder) @ _vectors(encoder).T
    else:
        rows = [_words().scores(meaning(p)) for p in found]
        table = np.array([[s / max(row) for s in row] for row in rows])
        table = table + table.T
    scope = np.array([bool(p.out) for p in found])
    table = np.where(scope[:, None] == scope[None, :], table, -np.inf)
    np.fill_diagonal(table, -np.inf)
    nearest = np.argsort(-table, axis=1, kind="stable")[:, :most]
    return {p.key: [found[j] for j in row] for p, row in zip(found, nearest, strict=True)}


def meaning(paper: Paper) -> str:
    """The text whose meaning a paper is found by."""
    return f"{paper.title}. {paper.does} {paper.also}"


def by(words_only: bool = False) -> str:
    """What a search goes by here: 'meaning' or 'words'."""
    from theodolite.catalogue.encoder import folder

    return BY[1] if words_only or folder() is None else BY[0]


def _named(text: str, paper: Paper) -> bool:
    said = text.strip().lower().removeprefix("arxiv:").removeprefix("https://arxiv.org/abs/")
    return bool(said) and said in (paper.key, paper.arxiv, paper.title.lower())


def _encoder() -> Encodes | None:
    from theodolite.catalogue.encoder import encoder

    return encoder()


@functools.cache
def _words() -> Words:
    return standard()


@functools.lru_cache(maxsize=1)
def _vectors(encoder: Encodes) -> np.ndarray:
    return encoder.vectors([meaning(p) for p in papers()])
