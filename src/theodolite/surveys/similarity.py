"""Turing RSA: do the model's word similarities have the shape of people's?"""

from __future__ import annotations

import csv
from dataclasses import replace

import numpy as np

from theodolite.measures.call import evaluate
from theodolite.measures.likeness.norms import expected_rating
from theodolite.registry import register
from theodolite.surveys.protocol import Protocol, locate, pick
from theodolite.surveys.subject import Subject
from theodolite.types import Reading

GROUPS = ("ARA", "CMN", "CYM", "ENG", "EST", "FIN", "FRA", "HEB", "POL", "RUS", "SPA", "SWA", "YUE")
"""language groups of raters, each standing for one human 'subject'"""
PHRASINGS = (
    "On a scale from 0 to 6, how similar in meaning are the words '{a}' and '{b}'? Answer with one number.",
    "Rate the similarity of meaning of '{a}' and '{b}' from 0 (unrelated) to 6 (the same). Answer with one number.",
)


class Similarity(Protocol):
    data: str = "$THEODOLITE_SHARED/data/cognition/multisimlex_scores.csv"
    """where the items lie; $THEODOLITE_SHARED stands for the folder of human data"""
    limit: int | None = 100
    """most items, the same ones for every model"""


@register(
    "survey",
    "similarity",
    source="Turing RSA arXiv:2412.00577; ratings Multi-SimLex arXiv:2003.04866",
    config=Similarity,
    question="Do the model's similarity ratings of words have the shape of people's?",
    measures=("turing_rsa",),
    data="Multi-SimLex: 1,888 word pairs rated by speakers of 13 languages",
    not_measured="single raters: the data holds the mean of each language group",
    taxonomy=(),
)
def similarity(subject: Subject, cfg: Similarity, rng: np.random.Generator) -> list[Reading]:
    """Ratings 0..6 as the mean under the next-token law, both orders of a pair averaged, one model 'subject' a phrasing.

    People: thirteen language groups' mean ratings of the pair (translated for each). Group level: Spearman of the mean
    model rating with the mean human rating; the noise ceiling is between language groups.
    """
    with locate(cfg.data).open(encoding="utf-8", newline="") as file:
        rows = pick(list(csv.DictReader(file)), cfg.limit)
    pairs = [(r["ENG 1"], r["ENG 2"]) for r in rows]
    digits = [str(k) for k in range(7)]
    model = []
    for ask in PHRASINGS:
        prompts = [ask.format(a=a, b=b) for x, y in pairs for a, b in ((x, y), (y, x))]
        found = subject.choices(prompts, [digits] * len(prompts), what="word similarity")
        rated, _ = expected_rating(np.array([f.logp for f in found]), (0, 6))
        model.append(rated.reshape(-1, 2).mean(1))
    human = np.array([[float(r[g]) if r.get(g) else np.nan for r in rows] for g in GROUPS])
    columns = {
        "human": human,
        "model": np.array(model),
        "first": [a for a, _ in pairs],
        "second": [b for _, b in pairs],
    }
    made = evaluate("turing_rsa", columns, seed=subject.seed, level=cfg.level)
    return [replace(made, parts={**made.parts, "chance": 0.0})]
