"""Is a text supported by its source? AlignScore's chunks and aggregation, and how well a metric follows people."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, get_args

import numpy as np
from numpy.typing import ArrayLike

from theodolite.measures.over_units import mean, reading, undefined
from theodolite.measures.raters.association import Kind, correlation, correlation_interval
from theodolite.measures.records import Integers, Records, Resampled, bare, codes, sieve
from theodolite.registry import register
from theodolite.stats import Floats
from theodolite.types import Reading

Splitter = Callable[[str], Sequence[str]]
"""a text into its sentences, in order"""


def chunks(context: str, split: Splitter, words: int = 350) -> list[str]:
    """The context in pieces of about `words` words, made of whole sentences joined by one space.

        pieces = words of the context // 350 + 1,  sentences a piece = max(sentences // pieces, 1)

    The last piece may be short and there may be more pieces than the first number. An empty context is one empty
    piece, as in the released code. Source: arXiv:2305.16739 section 3.3 and its implementation.
    """
    sentences = list(split(context))
    if not sentences:
        return [""]
    pieces = len(context.split()) // words + 1
    each = max(len(sentences) // pieces, 1)
    return [" ".join(sentences[i : i + each]) for i in range(0, len(sentences), each)]


def alignscore_pairs(context: str, claim: str, split: Splitter, words: int = 350) -> list[tuple[int, int, str, str]]:
    """(chunk number, sentence number, chunk, sentence) for every pair that an alignment function must score."""
    sentences = list(split(claim))
    return [(i, j, c, s) for i, c in enumerate(chunks(context, split, words)) for j, s in enumerate(sentences)]


def alignscore_aggregate(matrix: ArrayLike) -> float:
    """Mean over claim sentences of the best score over context chunks. matrix: (chunks, sentences).

    [[.1, .9], [.8, .2]] gives (.8 + .9) / 2 = .85. A claim without sentences gives NaN (the released code fails
    there); so does a NaN in the matrix. Higher is better supported.
    """
    table = np.asarray(matrix, float)
    if table.ndim != 2 or table.size == 0:
        return math.nan
    return float(table.max(0).mean())


@register(
    "measure",
    "factual_consistency",
    source="arXiv:2305.16739 section 3.3 (AlignScore: mean over sentences of the maximum over chunks)",
    config=Resampled,
    reads="records",
    needs=("document", "chunk", "sentence", "score"),
    question="How well is each sentence of a text supported by its source, on average?",
    better="higher",
    range=(-math.inf, math.inf),
    unit="",
    not_measured="whether the source is true; what the text leaves out; errors of the alignment function",
    taxonomy=("trust:hallucination",),
)
def factual_consistency(data: Records, rng: np.random.Generator, cfg: Resampled) -> Reading:
    """Mean over documents of AlignScore's aggregate of (chunk, sentence) scores. Higher is better.

    One row a pair: document, chunk, sentence (names or numbers), score (P(aligned) in [0, 1] for the classifying
    heads, any number for the regression head). A document with a missing score, or without the full table of chunks
    and sentences, is left out whole. `parts["weakest"]` is the mean over documents of their worst sentence.
    Bootstrap over documents.
    """
    data.rows("document", "chunk", "sentence", "score")
    names, score = data.words("document"), data.numbers("score")
    cells = [data.words("chunk"), data.words("sentence")]
    named = ~(bare(names) | bare(cells[0]) | bare(cells[1]))
    why = {"pair without a name": int((~named).sum())} if not named.all() else {}
    rows = np.flatnonzero(named)
    documents, d = codes([names[i] for i in rows])
    found, worst, full, scored = (np.full(len(documents), x) for x in (math.nan, math.nan, False, False))
    for number, mine in enumerate(_rows_of(d, len(documents))):
        (chunk_names, c), (sentence_names, s) = (codes([cell[rows[i]] for i in mine]) for cell in cells)
        table = np.full((len(chunk_names), len(sentence_names)), -math.inf)
        np.maximum.at(table, (c, s), score[rows[mine]])
        scored[number], full[number] = not np.isnan(table).any(), not np.isneginf(table).any()
        found[number], worst[number] = alignscore_aggregate(table), float(table.max(0).min())
    kept, lost = sieve(
        ("a pair has no score", ~scored.astype(bool)),
        ("some pairs of chunk and sentence are absent", ~full.astype(bool)),
    )
    parts = {"weakest": float(worst[kept].mean()) if kept.any() else math.nan}
    return mean(
        "factual_consistency", found[kept], rng, cfg, better="higher", why=why | lost,
        empty="no document has a full table of scores", units="documents", parts=parts,
    )  # fmt: skip


def _rows_of(code: Integers, n: int) -> list[Integers]:
    order = np.argsort(code, kind="stable")
    return list(np.split(order, np.searchsorted(code[order], np.arange(1, n)))) if n else []


class Follows(Resampled):
    kind: Kind = "spearman"
    """the coefficient that is the value; all three stand in parts"""


@register(
    "measure",
    "consistency_correlation",
    source="arXiv:2104.13346 section 4 (FRANK: correlation with human judgments); arXiv:2004.04228 (QAGS)",
    config=Follows,
    reads="records",
    needs=("metric", "human", "?system", "?document"),
    question="Does the metric rank texts as people rank them?",
    better="higher",
    range=(-1.0, 1.0),
    unit="",
    not_measured="whether the metric's numbers mean anything on their own; agreement among the people",
    taxonomy=("trust:hallucination",),
)
def consistency_correlation(data: Records, rng: np.random.Generator, cfg: Follows) -> Reading:
    """Correlation of a metric with human scores over texts: Spearman by default, Pearson or Kendall's tau_b.

    Columns metric, human; document (optional) names the source of a text: texts of one source are resampled
    together; system (optional) names who wrote it: `parts["systems"]` correlates the systems' means, and
    `parts["within_systems"]` is the mean of the coefficients inside each system (which the difference between good
    and bad systems cannot inflate). Higher is better. Bootstrap over documents, or over rows without them.
    """
    optional = [c for c in ("system", "document") if c in data.columns]
    data.rows("metric", "human", *optional)
    x, y = data.numbers("metric"), data.numbers("human")
    names = {c: data.words(c) for c in optional}
    kept, why = sieve(
        ("no metric", np.isnan(x)), ("no human score", np.isnan(y)), *[(f"no {c}", bare(w)) for c, w in names.items()]
    )
    x, y = x[kept], y[kept]
    number = {c: codes([w for w, k in zip(names[c], kept) if k]) for c in optional}
    parts: dict[str, Any] = {k: correlation(x, y, k) for k in get_args(Kind)}
    if "system" in number:
        parts |= _systems(x, y, *number["system"], cfg)
    if math.isnan(parts[cfg.kind]):
        note = "needs two texts, and scores that differ on both sides"
        return undefined("consistency_correlation", note, cfg, "higher", why, parts=parts)
    units = number["document"][1] if "document" in number else None
    span = correlation_interval(x, y, cfg.kind, units, rng, cfg)
    return reading("consistency_correlation", parts[cfg.kind], span, len(x), better="higher", why=why, parts=parts)


def _systems(x: Floats, y: Floats, systems: list[str], code: Integers, cfg: Follows) -> dict[str, Any]:
    n = np.maximum(np.bincount(code, minlength=len(systems)), 1)
    a, b = (np.bincount(code, v, len(systems)) / n for v in (x, y))
    inside = np.array([correlation(x[code == i], y[code == i], cfg.kind) for i in range(len(systems))])
    inside = inside[~np.isnan(inside)]
    return {
        "systems": {k: correlation(a, b, k) for k in get_args(Kind)} | {"n": len(systems)},
        "within_systems": float(inside.mean()) if len(inside) else math.nan,
    }
