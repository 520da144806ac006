"""Factual consistency of summaries, by the AlignScore procedure with the model's own likelihood as the alignment function."""

from __future__ import annotations

import json

import numpy as np

from theodolite.data.sentences import sentences
from theodolite.measures.call import evaluate
from theodolite.measures.judges.consistency import alignscore_aggregate, chunks
from theodolite.registry import register
from theodolite.surveys.protocol import Protocol, locate, pick
from theodolite.surveys.subject import Subject
from theodolite.types import Reading


class Consistency(Protocol):
    data: str = "$THEODOLITE_SHARED/data/honesty/qags_cnndm.json"
    """where the items lie; $THEODOLITE_SHARED stands for the folder of human data"""
    limit: int | None = 60
    """most items, the same ones for every model"""
    chunk_words: int = 150
    """words of a chunk of the source (AlignScore uses 350, for an encoder of 512 tokens)"""


@register(
    "survey",
    "consistency",
    source="arXiv:2305.16739 section 3.2 (chunks, sentences, max and mean); data QAGS arXiv:2004.04228",
    config=Consistency,
    question="Can the model tell a summary that is true to its source from one that is not?",
    measures=("consistency_correlation",),
    data="QAGS CNN/DM: 235 summaries with human consistency scores",
    not_measured="consistency of the model's own summaries",
    taxonomy=("trust:hallucination", "trust:inconsistency"),
)
def consistency(subject: Subject, cfg: Consistency, rng: np.random.Generator) -> list[Reading]:
    """Alignment function: how much a chunk of the source raises the log-prob of a summary's sentence, a token.

        align(c, s) = [log p(s | 'c') - log p(s | no source)] / tokens of s

    Score of a summary: mean over its sentences of the maximum over chunks; correlated with human scores.
    """
    rows = pick(json.loads(locate(cfg.data).read_text(encoding="utf-8")), cfg.limit)
    asked, options, shape = [], [], []
    bare = "Write one sentence of a news summary."
    for row in rows:
        parts = chunks(row["source"], _sentences, words=cfg.chunk_words)
        claims = _sentences(row["system_output"]) or [row["system_output"]]
        shape.append((len(parts), len(claims)))
        for part in parts:
            asked.append(f"{bare}\n\nArticle: {part}")
            options.append(claims)
        asked.append(bare)
        options.append(claims)
    found = iter(subject.options(asked, options, what="consistency"))
    metric = []
    for many, _ in shape:
        given = np.array([next(found).logp for _ in range(many)])
        without = next(found)
        metric.append(alignscore_aggregate((given - without.logp) / without.tokens))
    human = [float(row["scores"]["consistency"]) for row in rows]
    return [evaluate("consistency_correlation", {"metric": metric, "human": human}, seed=subject.seed, level=cfg.level)]


def _sentences(text: str) -> list[str]:
    return [text[a:b] for a, b in sentences(text)]
